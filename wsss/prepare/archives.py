"""Tar and zip archives, looked through before anything of them is written."""

import bz2
import gzip
import io
import logging
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, NamedTuple

from wsss.data.table import LONGEST_NAME
from wsss.errors import InputError, is_plain
from wsss.prepare.disk import check_space
from wsss.progress import follow
from wsss.writing import whole_file

log = logging.getLogger(__name__)

# What the readers raise for damaged archives, and for encrypted or unknown zips (RuntimeError).
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError),
    *(ValueError, LookupError, ArithmeticError, struct.error),
)
MOST_GROWTH = 100  # times an archive's own size; photographs and label maps hardly shrink
FREE = 100_000_000  # bytes that any archive may grow to
LARGEST_READ = 1 << 24  # bytes taken into memory at a time
_UNPACKED_BY: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


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
            with _unpacked(path) as file, tarfile.open(fileobj=_Steps(file), mode="r:") as tarred:
                yield _tar_entries(path, tarred)
    except InputError:
        raise
    except (*DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # a disk's, not bz2's
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
        folders = {parent for _, path in placed for parent in path.parents}
        torn = next((entry for entry, path in placed if path in folders), None)
        if torn is not None:
            raise InputError(f"{archive}: entry {torn.name!r} is a file and a folder; fetch the archive again")
        missing = [(entry, path) for entry, path in placed if not path.exists()]
        missing.sort(key=lambda item: bool(last) and item[1].is_relative_to(folder / last))
        check_space(folder, sum(entry.size for entry, _ in missing))
        for entry, path in follow(missing, f"unpacking {archive.name}"):
            with entry.open() as source, whole_file(path) as target:
                shutil.copyfileobj(source, target)
    return len(missing)


def _unpacked(path: Path) -> IO[bytes]:
    """A tar of any compression as a tar."""
    with path.open("rb") as file:
        beginning = file.read(6)
    unpack = next((opens for sign, opens in _UNPACKED_BY.items() if beginning.startswith(sign)), None)
    return path.open("rb") if unpack is None else unpack(path, "rb")


class _Steps(io.RawIOBase):
    """A file that is read a little at a time: tarfile takes long names into memory whole, of whatever length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek  # type: ignore[method-assign]

    def read(self, size: int = -1) -> bytes:
        """As asked, up to a limit."""
        if not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a name of {size} bytes")
        return self._file.read(size)


def _tar_entries(path: Path, archive: tarfile.TarFile) -> list[Entry]:
    members, size = [], 0
    for member in archive:
        _check_entry(path, member.name, is_file=member.isfile() or member.isdir())
        members.append(member)
        size += max(member.size, 0)
        _check_growth(path, size)  # before the next, which would be sought behind this one
    return [Entry(m.name, m.size, partial(_open_member, archive, m)) for m in members if m.isfile()]


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None  # only links and devices give None
    return file


def _zip_entries(path: Path, archive: zipfile.ZipFile) -> list[Entry]:
    members = archive.infolist()
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive was not made on Unix
        _check_entry(path, member.filename, is_file=kind in (0, stat.S_IFREG, stat.S_IFDIR))
    _check_growth(path, sum(member.file_size for member in members))
    return [Entry(m.filename, m.file_size, partial(archive.open, m)) for m in members if not m.is_dir()]


def _check_growth(path: Path, size: int) -> None:
    """Refuse what would fill a disk from a small file."""
    if size > max(FREE, MOST_GROWTH * path.stat().st_size):
        raise InputError(
            f"{path}: would unpack to {size / 1e9:.1f} GB, more than {MOST_GROWTH} times its size; nothing was "
            "unpacked, fetch the archive from its official place"
        )


def _check_entry(path: Path, name: str, *, is_file: bool) -> None:
    as_path = PureWindowsPath(name)  # splits at / and \, and knows drives: what is safe so is safe everywhere
    if as_path.anchor or ".." in as_path.parts:
        fault = "leads outside the folder it is unpacked to"
    elif not is_plain(name) or max(map(len, as_path.parts), default=0) > LONGEST_NAME or len(name) > 5 * LONGEST_NAME:
        fault = "has a name that disks do not take"
    elif not is_file:
        fault = "is a link or a device"
    else:
        return
    raise InputError(f"{path}: entry {name!r} {fault}; nothing was unpacked, fetch the archive from its official place")
