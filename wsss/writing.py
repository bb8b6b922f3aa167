"""Files and folders that are written whole or not at all."""

import csv
import io
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

LEFTOVER = re.compile(r"\..+-[0-9a-f]{8}")  # how `whole_file` calls what it has begun
LEFT_FOR = 600  # seconds after which nobody is writing it any more


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears as `path`, in a folder made if need be, when the block ends well; else all stays."""
    temporary = path.with_name(f".{path.name}-{uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # a failing write names no file, and nobody knows the temporary one
        raise
    except RuntimeError as error:  # what torch makes of a write that fails after the first
        if (of_system := _of_system(error)) is None:
            raise
        raise OSError(of_system.errno, of_system.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # where it cannot be removed, it could not be made either
            temporary.unlink(missing_ok=True)


def _of_system(error: BaseException | None) -> OSError | None:
    """The system's error behind another."""
    while error is not None and not (isinstance(error, OSError) and error.errno is not None):
        error = error.__cause__ or error.__context__
    return error


def remove_leftovers(folder: Path) -> None:
    """Remove what `whole_file` has begun in a folder and its subfolders and a process killed minutes ago has left."""
    for path in folder.rglob(".*"):
        if LEFTOVER.fullmatch(path.name):
            with suppress(OSError):  # another start has removed it, or it cannot be removed
                if path.stat().st_mtime < time.time() - LEFT_FOR:
                    path.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `path`, new or empty, when the block ends well."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        filled = Path(temporary) / "filled"
        filled.mkdir()
        yield filled
        if path.exists():
            path.rmdir()
        filled.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, whole or not at all."""
    write_text(path, csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as the text of a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()
