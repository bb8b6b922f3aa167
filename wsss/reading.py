"""Text and JSON files that people, or other programs, have written, and sums of any."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wsss.errors import InputError

CHUNK = 1 << 20


def read_text(path: Path) -> str:
    """Content of a text file.

    Raises:
        InputError: if it is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors begin with a mark
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable text file ({error}); save it as UTF-8") from None


def read_json(
    path: Path, *, remedy: str = "correct it", object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: the file.
        remedy: what the user can do about a broken one.
        object_hook: see `json.loads`; may raise ValueError.

    Raises:
        InputError: if it is missing, broken, nested too deep, or holds anything but an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=object_hook)
    except (OSError, UnicodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not readable JSON ({error}); {remedy}") from None
    except ValueError as error:  # the hook's, and numbers of thousands of digits
        raise InputError(f"{path}: {error}; {remedy}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object in braces, found {type(found).__name__}; {remedy}")
    return found


def read_figures(path: Path) -> dict[str, float]:
    """The finite numbers by name in a JSON file; raises as `read_json` does."""
    return finite(read_json(path))


def finite(figures: Mapping[str, Any]) -> dict[str, float]:
    """Figures that are finite numbers."""
    return {key: float(value) for key, value in figures.items() if _is_finite(value)}


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)  # integers may be larger than any float


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()
