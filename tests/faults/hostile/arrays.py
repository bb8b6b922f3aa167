"""Hostile seed files."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.faults.hostile.base import ZEROS, Bomb, Kind, damaged, noise
from wsss.seeds import load_seeds, load_stage_maps, resize_maps

GOOD = {
    "maps": np.linspace(0, 1, 2 * 4 * 5).reshape(2, 4, 5).astype(np.float16),
    "stage5_x1.0": np.linspace(0, 1, 2 * 4 * 5).reshape(1, 2, 4, 5).astype(np.float16),
    "classes": np.array([3, 7]),
    "size": np.array([16, 20]),
    "format": np.array(2),
}
DTYPES = ["f4", "f8", "f2", "i8", "u1", "i1", "?", "c8", "U5", "S5", "M8[s]", "m8[s]", "V4", "f4,i2", ">f4", "g"]


def _bytes(array: Any, *, allow_pickle: bool = True) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def _write(path: Path, members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _members(arrays: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [(f"{name}.npy", _bytes(array)) for name, array in arrays.items()]


def right(folder: Path) -> Path:
    """Seeds, and maps before fusion, of one image."""
    return _write(folder / "image.npz", _members(GOOD))


def _wrong(rng: Random, folder: Path) -> Path:
    """One array of another type, shape or value, missing, or there twice."""
    arrays: dict[str, Any] = {name: array.copy() for name, array in GOOD.items()}
    name = rng.choice([*arrays])
    deed = rng.choice(["dtype", "shape", "value", "missing", "twice", "empty"])
    if deed == "dtype":
        arrays[name] = np.zeros(arrays[name].shape, np.dtype(rng.choice(DTYPES)))
    elif deed == "shape":
        arrays[name] = np.zeros(
            rng.choice([(), (0,), (2,), (3,), (1, 2), (2, 0, 5), (2, 4, 5, 1), (9, 4, 5)]), arrays[name].dtype
        )
    elif deed == "value":
        value = rng.choice([np.nan, np.inf, -1, 1e4, 300, -(2**40), 2**40])
        with np.errstate(all="ignore"):
            arrays[name].flat[0] = np.float64(value).astype(arrays[name].dtype)
    elif deed == "missing":
        del arrays[name]
    elif deed == "empty":
        arrays[name] = np.zeros(0, arrays[name].dtype)
    members = _members(arrays)
    if deed == "twice":
        members.append((f"{name}.npy", _bytes(np.zeros_like(GOOD[name]))))
    return _write(folder / "image.npz", members)


def _damaged(rng: Random, folder: Path) -> Path:
    path = right(folder)
    path.write_bytes(damaged(rng, path.read_bytes()) if rng.random() < 0.8 else noise(rng, b"PK\x03\x04"))
    return path


def _header(rng: Random, folder: Path) -> Path:
    """A member whose header promises what is not there, or is no plain value."""
    shape = rng.choice(
        [
            "(2, 4, 5)",
            "(10**12,)",
            "(2, 100000, 100000)",
            "(-1, 4, 5)",
            "(2,) * 9999",
            "(True, 4)",
            "__import__('os')",
            "()",
        ]
    )
    dtype = rng.choice(
        ["'<f2'", "'O'", "'|O'", "[('a', 'O')]", "'<f2' + 1", "'<U1000000000'", "'|V2000000000'", "None"]
    )
    text = f"{{'descr': {dtype}, 'fortran_order': {rng.choice(['False', 'True', '9'])}, 'shape': {shape}, }}\n".encode()
    length = rng.choice([len(text), 65_535, 3]).to_bytes(2, "little")
    content = b"\x93NUMPY\x01\x00" + length + text + bytes(80)
    name = rng.choice(["maps.npy", "classes.npy", "size.npy", "stage5_x1.0.npy"])
    members = [(n, c) for n, c in _members(GOOD) if n != name]
    return _write(folder / "image.npz", [*members, (name, content)])


def _pickled(rng: Random, folder: Path) -> Path:
    path, form = folder / "image.npz", rng.choice(["array", "pickle", "npy", "deep"])
    objects = np.array([Bomb(), Bomb()], dtype=object)
    if form == "array":
        name = rng.choice([*GOOD])
        return _write(path, _members({**GOOD, name: objects}))
    if form == "deep":
        return _write(path, _members({**GOOD, "further": objects, "classes": np.array([[Bomb()]], dtype=object)}))
    import pickle

    path.write_bytes(pickle.dumps(Bomb()) if form == "pickle" else _bytes(objects))
    return path


def _bomb(rng: Random, folder: Path) -> Path:
    """A few MB, or hundreds of bytes, that become gigabytes."""
    form, path = rng.choice(["zeros", "size", "classes"]), folder / "image.npz"
    if form == "size":
        side = rng.choice([10**5, 2**31, 2**62, 10**9])
        return _write(path, _members({**GOOD, "size": np.array([side, side])}))
    path.write_bytes(_swelling(form))
    return path


@cache
def _swelling(form: str) -> bytes:
    """Seeds with an array of zeros that is larger than any right one; the two are refused for different reasons."""
    name, dtype, shape, size = {
        "zeros": ("maps.npy", "<f2", "(2, 200000000, 1)", 800_000_000),
        "classes": ("classes.npy", "<i8", "(50000000,)", 400_000_000),
    }[form]
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in _members(GOOD):
            if member != name:
                archive.writestr(member, content)
        with archive.open(name, "w") as file:
            file.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            for _ in range(size // len(ZEROS)):
                file.write(ZEROS)
    return buffer.getvalue()


def read_seeds(path: Path) -> None:
    """Both kinds of file have the same members here; what is read must be what the rest of the package counts on."""
    refusals = []
    for load in (load_seeds, lambda p: load_stage_maps(p, [1.0], ["stage5"])):
        try:
            found = load(path)
        except ValueError as error:
            refusals.append(error)
            continue
        maps = found.maps if isinstance(found.maps, np.ndarray) else found.maps[1.0]["stage5"]
        assert maps.dtype == np.float32 and np.isfinite(maps).all() and (maps >= -0.01).all() and (maps <= 1.01).all()
        assert found.classes.dtype == np.int64 and found.classes.ndim == 1 and maps.shape[-3] == len(found.classes)
        assert (
            (found.classes >= 0).all() and (found.classes < 254).all() and len({*found.classes}) == len(found.classes)
        )
        assert all(0 < side < 10**6 for side in found.size), found.size
        if maps.ndim == 3 and found.size[0] * found.size[1] < 10**7 and maps.size:
            assert resize_maps(maps, found.size).shape == (len(maps), *found.size)
    if refusals:
        raise refusals[0]


KINDS = [
    Kind("seeds, wrong arrays", _wrong, read_seeds, 3),
    Kind("seeds, damaged", _damaged, read_seeds, 2),
    Kind("seeds, headers that lie", _header, read_seeds, 2),
    Kind("seeds, pickled objects", _pickled, read_seeds),
    Kind("seeds, zip bomb", _bomb, read_seeds, 0.1),
]
