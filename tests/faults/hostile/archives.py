"""Hostile archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path
from random import Random

from tests.faults.hostile.base import Kind, damaged, packed_zeros
from wsss.prepare import unpack

FILES = {"VOC/one.txt": b"one\n" * 50, "VOC/sea/two.jpg": bytes(range(256)), "VOC/three.txt": b""}
PACKERS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
LEAVING = [
    "../out.txt",
    "VOC/../../out.txt",
    "/tmp/out.txt",
    "C:/out.txt",
    r"..\out.txt",
    r"\\host\out.txt",
    "VOC/..",
    "..",
    "~/../../x",
]


def _tar(members: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content) if member.isreg() else None)
    return buffer.getvalue()


def _member(name: str, content: bytes = b"") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member


def _plain() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(_member(name, content), content) for name, content in FILES.items()]


def _zip(names: dict[str, bytes], mode: int = stat.S_IFREG) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def right(folder: Path) -> Path:
    """A tar of three files."""
    return _written(folder, "a.tar.gz", gzip.compress(_tar(_plain())))


def _leaving(rng: Random, folder: Path) -> Path:
    """An entry outside, a link, a device, or a name that is none."""
    name, form = (
        rng.choice(LEAVING),
        rng.choice(["zip", "zip link", "tar", "link", "hard", "device", "fifo", "name", "twice"]),
    )
    if form.startswith("zip"):
        return _written(
            folder,
            "a.zip",
            _zip(
                {**FILES, name if form == "zip" else "VOC/x": b"../x"}, stat.S_IFREG if form == "zip" else stat.S_IFLNK
            ),
        )
    member = _member(name, b"x") if form == "tar" else _member("VOC/x")
    member.type = {
        "link": tarfile.SYMTYPE,
        "hard": tarfile.LNKTYPE,
        "device": tarfile.CHRTYPE,
        "fifo": tarfile.FIFOTYPE,
    }.get(form, tarfile.REGTYPE)
    member.linkname = rng.choice(["../../outside", "/etc/passwd"]) if form in ("link", "hard") else ""
    members = [*_plain(), (member, b"x")]
    if form == "name":
        odd = rng.choice(
            ["VOC/a\nb", "VOC/" + "x" * 3000, "VOC/" + "y/" * 3000, "VOC/\x1b[31m", "VOC/a\udc80", "VOC/."]
        )
        members[-1] = (_member(odd, b"x"), b"x")
    if form == "twice":  # the second as a file where the first was a folder
        members[-1] = (_member("VOC/sea", b"x"), b"x")
    suffix = rng.choice([*PACKERS])
    return _written(
        folder, f"a.tar{suffix}", PACKERS[suffix](_tar(members, rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])))
    )


def _damaged(rng: Random, folder: Path) -> Path:
    suffix = rng.choice([*PACKERS, ".zip"])
    if suffix == ".zip":
        return _written(folder, "a.zip", damaged(rng, _zip(FILES)))
    content = _tar(_plain())
    content = PACKERS[suffix](damaged(rng, content)) if rng.random() < 0.5 else damaged(rng, PACKERS[suffix](content))
    return _written(folder, f"a.tar{suffix}", content)


def _bomb(rng: Random, folder: Path) -> Path:
    """Little that becomes a lot: of content, of header, or of declared size."""
    form = rng.choice(["zip", "tar", "pax", "longname", "sparse", "declared", "layers"])
    zeros = 400_000_000
    if form == "zip":
        return _written(folder, "a.zip", _zip({"VOC/zeros.txt": bytes(zeros)}))
    if form == "layers":
        return _written(folder, "a.zip", _zip({"VOC/inner.zip": _zip({"VOC/zeros.txt": bytes(zeros)})}))
    member = _member("VOC/zeros.txt")
    member.size = 10**15 if form == "declared" else zeros
    if form in ("pax", "longname"):  # a header, which readers take into memory whole
        member.type = tarfile.XHDTYPE if form == "pax" else tarfile.GNUTYPE_LONGNAME
        member.size = 2_200_000_000
    if form == "sparse":
        member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
        header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
        header[386:398], header[398:410], header[483:495] = b"%011o\0" % 0, b"%011o\0" % 0, b"%011o\0" % (2**33 - 1)
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
        return _written(folder, "a.tar", bytes(header) + bytes(1024))
    size = min(member.size, 2_200_000_000)
    return _written(folder, "a.tar.gz", packed_zeros(size, member.tobuf(tarfile.GNU_FORMAT)))


def _written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def unpack_within(path: Path) -> None:
    """Nothing appears beside the folder that is unpacked to, and no link in it."""
    before = {*path.parent.iterdir()}
    target = path.parent / "unpacked"
    try:
        unpack(path, target, lambda name: name.removeprefix("VOC/") if name.startswith("VOC/") else None)
    finally:
        assert {*path.parent.iterdir()} - before <= {target}
        found = list(target.rglob("*")) if target.exists() else []
        assert not any(p.is_symlink() for p in found)
        size = sum(p.stat().st_size for p in found if p.is_file())
        assert size < 200_000_000, f"{size} bytes were written"


KINDS = [
    Kind("archive, entries that leave", _leaving, unpack_within, 3),
    Kind("archive, damaged", _damaged, unpack_within, 3),
    Kind("archive, bomb", _bomb, unpack_within, 0.1),
]
