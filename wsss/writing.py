"""Files and folders that are written whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears as `path` when the block ends well; if it fails, what was there before stays."""
    temporary = path.with_name(f".{path.name}-{uuid4().hex[:8]}")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Write a text file, whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(text.encode())
