"""Tar and zip archives, looked through before anything of them is written."""

import gzip
import logging
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, NamedTuple

from wsss.errors import InputError
from wsss.prepare.disk import check_space
from wsss.prepare.progress import follow
from wsss.writing import whole_file

log = logging.getLogger(__name__)

# What the readers raise for damaged archives, and for encrypted or unknown zips (RuntimeError).
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)


class Entry(NamedTuple):
    """A plain file in an archive: its path there, its size in bytes, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@contextmanager
def open_archive(path: Path) -> Iterator[list[Entry]]:
    """The plain files of a `.zip`, or of a tar of any compression, in their order.

    Raises:
        InputError: if the archive is missing or damaged, or holds an entry that could end up outside the folder it is
            unpacked to: an absolute path, one with `..`, a link, a device.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such archive; put it there")
    log.info("reading %s", path)
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as zipped:
                yield _zip_entries(path, zipped)
        else:
            with tarfile.open(path) as tarred:
                yield _tar_entries(path, tarred)
    except DAMAGED as error:
        raise InputError(f"{path}: not a readable archive ({error}); fetch it again") from error


def unpack(archive: Path, folder: Path, place: Callable[[str], str | None], *, last: str = "") -> int:
    """Write the files of an archive that are not there yet, each whole or not at all.

    Args:
        archive: tar or zip.
        folder: where to.
        place: gives an entry's path under `folder`, or None to leave it out.
        last: files under this folder of `folder` are written when all others are, as a sign that these are there.

    Returns:
        Number of files written.

    Raises:
        InputError: if the archive is unsafe (then nothing is written) or damaged, or the disk too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_archive(archive) as entries:
        placed = [(entry, folder / inner) for entry in entries if (inner := place(entry.name)) is not None]
        if not placed:
            raise InputError(f"{archive}: holds none of the files looked for; put the right archive there")
        missing = [(entry, path) for entry, path in placed if not path.exists()]
        missing.sort(key=lambda item: bool(last) and item[1].is_relative_to(folder / last))
        check_space(folder, sum(entry.size for entry, _ in missing))
        for entry, path in follow(missing, f"unpacking {archive.name}"):
            with entry.open() as source, whole_file(path) as target:
                shutil.copyfileobj(source, target)
    return len(missing)


def _tar_entries(path: Path, archive: tarfile.TarFile) -> list[Entry]:
    members = archive.getmembers()
    for member in members:
        _check_entry(path, member.name, is_plain=member.isfile() or member.isdir())
    return [Entry(m.name, m.size, partial(_open_member, archive, m)) for m in members if m.isfile()]


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # only links and devices give None
    return file


def _zip_entries(path: Path, archive: zipfile.ZipFile) -> list[Entry]:
    members = archive.infolist()
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive was not made on Unix
        _check_entry(path, member.filename, is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
    return [Entry(m.filename, m.file_size, partial(archive.open, m)) for m in members if not m.is_dir()]


def _check_entry(path: Path, name: str, *, is_plain: bool) -> None:
    as_path = PureWindowsPath(name)  # splits at / and \, and knows drives: what is safe so is safe everywhere
    if as_path.anchor or ".." in as_path.parts:
        fault = "leads outside the folder it is unpacked to"
    elif not is_plain:
        fault = "is a link or a device"
    else:
        return
    raise InputError(f"{path}: entry {name!r} {fault}; nothing was unpacked, fetch the archive from its official place")
