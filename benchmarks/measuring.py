"""Time and peak memory of a call, each in a process of its own, so that the peak of one does not hide another's."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from wsss.pipeline.environment import machine


def measure_call(call: Callable[[], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """MiB that the first call adds to the peak resident size, and what it returns; median seconds of `repeats` more.

    With no repeats, the first call's seconds.
    """
    before, start = peak_bytes(), time.perf_counter()
    result = call()
    seconds = [time.perf_counter() - start]
    extra = peak_bytes() - before
    if repeats:
        seconds.clear()
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "extra_mib": extra / 2**20}, result


def peak_bytes() -> int:
    """Largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would start from the size of the process that started this one
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run_apart(script: str, arguments: Sequence[object]) -> dict[str, float]:
    """Run a benchmark again in a process of its own; it prints its figures as JSON in its last line."""
    result = subprocess.run(
        [sys.executable, str(Path(script).resolve()), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {result.stderr.strip()}")
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


@dataclass(frozen=True)
class Comparison:
    """One thing done by us and by a peer in the same run; a line of docs/benchmarks.md.

    Attributes:
        what: is done.
        peer: who else does it.
        seconds: ours.
        peer_seconds: theirs.
        faster: how many times as fast ours is; the median of the turns' ratios where both took turns.
        target: what `faster` was meant to reach, if anything.
        mib: what ours adds to the peak of memory, if measured.
        peer_mib: what theirs adds.
    """

    what: str
    peer: str
    seconds: float
    peer_seconds: float
    faster: float
    target: float | None = None
    mib: float | None = None
    peer_mib: float | None = None


def store(path: Path, *, threads: int, cases: dict[str, Any], compared: Sequence[Comparison] = ()) -> None:
    """Keep the figures of all cases as JSON, with what they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured_on = {"machine": machine(), "torch": torch.__version__, "threads": threads}
    path.write_text(
        json.dumps({**measured_on, "cases": cases, "compared": [asdict(one) for one in compared]}, indent=1)
    )
