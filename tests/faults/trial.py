"""One hostile file, made and read: what came of it, how long it took and how much memory."""

from __future__ import annotations

import logging
import re
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.faults.hostile import CANARY, Kind
from wsss.errors import FaultyDataError, InputError

MAX_SECONDS = 30.0
MAX_BYTES = 2 * 10**9


class Outcome(NamedTuple):
    """What came of a hostile file.

    Attributes:
        kind: its name.
        number: which of its kind, from which it can be made again.
        state: `read`, `refused` (by one line that names the file), or `crashed`.
        detail: the line, or what is wrong.
        seconds: that reading took.
        memory: highest resident memory of the process while reading, bytes; 0 where the system does not tell.
    """

    kind: str
    number: int
    state: str
    detail: str
    seconds: float
    memory: int


def attempt(kind: Kind, number: int, seed: int = 0) -> Outcome:
    """Make the file and read it."""
    CANARY.unlink(missing_ok=True)
    warnings.simplefilter("ignore")
    logging.disable()
    try:
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            path = kind.make(Random(f"{seed} {kind.name} {number}"), Path(folder))
            _forget_peak()
            start = time.perf_counter()
            state, detail = _read(kind, path, folder if kind.is_part else path.name)
            seconds, memory = time.perf_counter() - start, _peak()
    finally:
        logging.disable(logging.NOTSET)
    if CANARY.exists():
        CANARY.unlink()
        state, detail = "crashed", f"code in the file ran; {detail}"
    if memory > MAX_BYTES:
        state, detail = "crashed", f"{memory / 1e9:.1f} GB of memory; {detail}"
    if seconds > MAX_SECONDS:
        state, detail = "crashed", f"{seconds:.0f} s; {detail}"
    return Outcome(kind.name, number, state, detail, seconds, memory)


def _read(kind: Kind, path: Path, name: str) -> tuple[str, str]:
    try:
        kind.read(path)
    except InputError as error:
        lines = error.messages if isinstance(error, FaultyDataError) else [str(error)]
        fault = next((fault for line in lines if (fault := _fault_of(line, name))), None)
        return ("refused", lines[0]) if fault is None else ("crashed", f"{fault}: {lines[0][:300]!r}")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "crashed", " | ".join(traceback.format_exc().strip().splitlines()[-5:])[-600:]
    return "read", ""


def _fault_of(line: str, name: str) -> str | None:
    """What is wrong with a refusal; None if it is one line that can be shown and names the file."""
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", line):
        return "not one line of plain letters"
    if len(line) > 2000:
        return "a line of endless length"
    return None if name in line else "does not name the file"


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0
