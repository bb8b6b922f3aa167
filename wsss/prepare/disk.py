"""What a disk may refuse, told to the user; and files that are copied whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsss.errors import InputError
from wsss.writing import whole_file


def check_space(folder: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: an existing folder on that disk.
        needed: bytes to be written.

    Raises:
        InputError: if fewer are free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        have = f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free"
        raise InputError(f"{folder}: {have}; free some space or choose a folder on another disk")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn what the file system refuses (also as a decorator) into an InputError."""
    try:
        yield
    except OSError as error:
        remedy = "make room there, or choose a folder you can read and write"
        raise InputError(f"{error.filename or 'disk'}: {error.strerror or error}; {remedy}") from error


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content, replacing what is there."""
    with source.open("rb") as original, whole_file(target) as copy:
        shutil.copyfileobj(original, copy)
