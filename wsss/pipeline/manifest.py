"""What a step's folder says of itself: options, figures, whether it ended, and how large its files were then."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import wsss
from wsss.errors import InputError
from wsss.reading import finite, hash_file, read_json
from wsss.writing import write_json

FILES = "files.json"  # beside the manifest of a finished step
PICTURES = "photographs", "truth"  # hashes of what a step has seen
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("step", "state", "fingerprint"), str),
    **dict.fromkeys(("settings", "inputs", "figures", "protocols"), dict),
    "seconds": (int, float),
}


def read_manifest(path: Path) -> dict[str, Any]:
    """A step's manifest.

    Raises:
        InputError: if it is damaged, or holds anything else.
    """
    remedy = f"delete {path.parent} and redo the step"
    manifest = read_json(path, remedy=remedy)
    wrong = [name for name, kind in _KINDS.items() if not isinstance(manifest.get(name), kind)]
    if not wrong and len(finite(manifest["figures"])) < sum(v == v for v in manifest["figures"].values()):
        wrong = ["figures"]  # NaN is none, and may be there
    if not wrong and not all(isinstance(protocol, dict) for protocol in manifest["protocols"].values()):
        wrong = ["protocols"]
    if not wrong and not isinstance(manifest.get("pictures", {}), dict):
        wrong = ["pictures"]
    if wrong:
        raise InputError(f"{path}: not a whole manifest, {wrong[0]} {manifest.get(wrong[0])!r}; {remedy}")
    return manifest


def other_pictures(manifest: Mapping[str, Any], now: Mapping[str, str]) -> list[str]:
    """Which of `PICTURES` are not those that a step was made with; none where it does not say, as in older runs."""
    was = manifest.get("pictures", {})
    return [name for name in PICTURES if name in was and name in now and was[name] != now[name]]


def record_files(folder: Path, names: Sequence[str]) -> None:
    """Write how large a finished step's files are, and the hash of models and tables, beside its manifest."""
    write_json(folder / FILES, {name: _state(folder / name) for name in names})


def is_of_others(below: Mapping[str, Any], settings: Mapping[str, Any], now: Mapping[str, str]) -> bool:
    """Whether a step that another builds on was made with other photographs under the same names.

    Steps may be of different images, as seeds of a part of what the classifier has learnt from: these are let be.
    """
    is_same = below["settings"].get("images") == settings.get("images")
    return is_same and "photographs" in other_pictures(below, now)


def recorded_files(folder: Path) -> Sequence[str]:
    """Names of a finished step's files, as far as they are recorded."""
    return list(_recorded(folder) or {})


def _recorded(folder: Path) -> dict[str, Any] | None:
    """What `record_files` has left, nothing in older runs; None of a damaged file."""
    path = folder / FILES
    try:
        return read_json(path) if path.exists() else {}
    except InputError:
        return None


def changed_files(folder: Path, suffix: str = "") -> Iterator[Path]:
    """A finished step's files, of those recorded with this suffix, that are not as the step has left them.

    Maps and masks are compared by size alone: their formats hold sums of their own, checked when they are read.
    """
    recorded = _recorded(folder)
    if recorded is None and FILES.endswith(suffix):
        yield folder / FILES
    for name, state in (recorded or {}).items():
        if name.endswith(suffix) and _state(folder / name) != state:
            yield folder / name


def damaged(path: Path) -> InputError:
    """What users are told of a file that `changed_files` has found."""
    return InputError(f"{path}: not as the step has left it; delete it and run again to make it anew")


def _state(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    state: dict[str, Any] = {"bytes": path.stat().st_size}
    return state | {"sha256": hash_file(path)} if path.suffix in (".pt", ".csv") else state


def versions() -> dict[str, str]:
    """Of what a step's outputs depend on besides its options."""
    return {"wsss": wsss.__version__, "torch": torch.__version__, "python": platform.python_version()}


def fingerprint(content: object) -> str:
    """Sixteen hexadecimal digits that stand for plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    """Name one option that differs, `masks.crf.bilateral_srgb 5 → 10`."""
    for key in sorted({*old, *new} if prefix else {*new}):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            return first_difference(before, after, f"{prefix}{key}.")
        name = f"{prefix}{key}".removeprefix("settings.")
        if prefix == "inputs.":
            return f"step {key} was {'added' if before is None else 'left out' if after is None else 'redone'}"
        return f"{name} {before} → {after}"
    return "another version"
