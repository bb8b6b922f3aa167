"""Read thousands of hostile files, and say what came of them.

    python -m tests.faults.fuzz --count 5000 --seed 0
    python -m tests.faults.fuzz --kind "model, bomb" --count 20

Files are read in a process of their own, one after another. One that hangs or dies is noticed, counted, and replaced.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.faults.hostile import KINDS, Kind
from tests.faults.trial import MAX_SECONDS, Outcome, attempt

SPACE = 6 * 2**30  # bytes of address space beyond which an allocation fails, so that the machine is safe
Task = tuple[Kind, int]


def main() -> int:
    """Print the table and every crash; 1 if there was one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="number of files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", help="only kinds whose name holds this")
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if options.kind in kind.name]
    outcomes: list[Outcome] = []
    for outcome in attempts(shared_out(kinds, options.count), options.seed):
        outcomes.append(outcome)
        if outcome.state == "crashed":
            print(f"crashed: {outcome.kind} {outcome.number}: {outcome.detail}", flush=True)
    print(table(kinds, outcomes))
    return int(any(outcome.state == "crashed" for outcome in outcomes))


def shared_out(kinds: Sequence[Kind], count: int) -> list[Task]:
    """At least `count` files, shared out among the kinds as they ask."""
    whole = sum(kind.share for kind in kinds)
    return [(kind, number) for kind in kinds for number in range(-int(-count * kind.share // whole))]


def attempts(tasks: Sequence[Task], seed: int) -> Iterator[Outcome]:
    """What came of each file, in order."""
    context, done = multiprocessing.get_context("fork"), 0
    while done < len(tasks):
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(tasks[done:], seed, there), daemon=True)
        worker.start()
        there.close()
        while done < len(tasks) and (outcome := _next(here, worker)) is not None:
            yield outcome
            done += 1
        if done < len(tasks):
            kind, number = tasks[done]
            how = "hung" if worker.exitcode is None else f"ended the process, status {worker.exitcode}"
            worker.kill()
            yield Outcome(kind.name, number, "crashed", how, 2 * MAX_SECONDS, 0)
            done += 1
        worker.join()


def _next(here: Connection, worker: multiprocessing.process.BaseProcess) -> Outcome | None:
    """The next outcome; None if the worker hangs or is gone."""
    try:
        return here.recv() if here.poll(2 * MAX_SECONDS + 60) else None  # a minute for the making of the file
    except EOFError:
        worker.join()
        return None


def _work(tasks: Sequence[Task], seed: int, there: Connection) -> None:
    torch.set_num_threads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for kind, number in tasks:
        there.send(attempt(kind, number, seed))


def table(kinds: Sequence[Kind], outcomes: Sequence[Outcome]) -> str:
    """A Markdown table, a row a kind."""
    lines = ["| kind | files | refused | read | crashed | slowest | highest memory |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name in [*(kind.name for kind in kinds), "all"]:
        found = [outcome for outcome in outcomes if name in (outcome.kind, "all")]
        counts = [sum(outcome.state == state for outcome in found) for state in ("refused", "read", "crashed")]
        slowest, highest = (max((o[at] for o in found), default=0) for at in (4, 5))
        cells = [name, len(found), *counts, f"{slowest:.1f} s", f"{highest / 1e6:.0f} MB"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
