"""Runs that are killed at random moments and started again until they end, compared with one that nothing disturbed.

    python -m tests.faults.kill [--kills 200] [--in-a-run 8] [--seed 0] [--limit-images 12] [option=value …]

A moment is an operation on a file of the run (open, rename, remove, make or remove a folder, link), drawn at random:
the process dies by SIGKILL just before it, or up to a second after, which is within a training epoch, a forward pass or
half a file. The outputs must be those of the undisturbed run: models tensor by tensor, maps, masks, predictions and
tables byte by byte, figures but for times. Each start is a fork, so that libraries are loaded once.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from rich.console import Console
from rich.table import Table

from tests.pipeline.conftest import REPOSITORY, compose_config
from wsss.errors import InputError
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.run_lock import LOCK, sole_start
from wsss.writing import LEFTOVER

LATEST = 1.0  # seconds from the operation to the end
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
# Of no interest: what a training keeps to go on from, its logs, and what tells when and where.
PASSED_OVER = ("checkpoints", "metrics", "tensorboard", "report", "environment.json", "manifest.json", "config.yaml")
PASSED_OVER += (LOCK, f"{LOCK}.holder", "seconds.json")
TIMES = re.compile("^time/|seconds")  # of figures
DONE, REFUSED = 0, 2  # exit status of a start


@dataclass
class Moment:
    """When a process dies.

    Attributes:
        operation: number of the operation on the run's files; None: never.
        delay: seconds from it; None: just before it.
    """

    operation: int | None = None
    delay: float | None = None


def start(work: Callable[[], object], folder: Path, moment: Moment, log: Path) -> tuple[int, list[str]]:
    """Do the work in a fork that dies at the moment.

    Returns:
        Exit status, negative where a signal ended it, and the operations told, `<event> <path>`, the last one on which
        it died.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work_and_leave(work, folder, moment, writing, log)
    os.close(writing)
    told = []
    with os.fdopen(reading) as lines:
        for line in lines:
            told.append(line.rstrip("\n"))
            if len(told) == moment.operation and moment.delay is not None:
                time.sleep(moment.delay)  # its work goes on meanwhile
                os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def _work_and_leave(work: Callable[[], object], folder: Path, moment: Moment, writing: int, log: Path) -> NoReturn:
    """The fork's part: tell each operation, die at the moment, leave without the parent's clean-up."""
    number = 0
    root = str(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        if event not in OPERATIONS or not isinstance(arguments[0], (str, os.PathLike)):
            return
        path = os.fspath(arguments[0])
        if not path.startswith(root) or (event == "open" and "r" in (arguments[1] or "r")):
            return
        number += 1
        os.write(writing, f"{event} {path[len(root) + 1 :]}\n".encode())
        if number == moment.operation and moment.delay is None:
            os.kill(os.getpid(), signal.SIGKILL)

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status = 1
    try:
        sys.addaudithook(hook)
        work()
        status = DONE
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        status = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def outputs_of(folder: Path) -> dict[str, str]:
    """What a run has come to: each file's path and the hash of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or LEFTOVER.fullmatch(path.name) or any(part in PASSED_OVER for part in name.split("/")):
            continue
        if path.suffix == ".pt":
            content: bytes = _told(torch.load(path, weights_only=True)).encode()
        elif path.name == "files.json":
            content = "\n".join(sorted(json.loads(path.read_text()))).encode()  # models hold their files' order
        elif path.name in ("results.json", "protocols.json"):
            figures = json.loads(path.read_text())
            content = json.dumps({key: figures[key] for key in figures if not TIMES.search(key)}).encode()
        else:
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def _told(content: object) -> str:
    """Plain values and the hashes of tensors."""
    if isinstance(content, torch.Tensor):
        return hashlib.sha256(content.contiguous().numpy().tobytes()).hexdigest() + str(content.dtype)
    if isinstance(content, dict):
        return "{" + ", ".join(f"{key}: {_told(value)}" for key, value in sorted(content.items())) + "}"
    if isinstance(content, (list, tuple)):
        return "[" + ", ".join(map(_told, content)) + "]"
    return repr(content)


class Faults:
    """Kills, where they fell, and what came of the runs.

    Args:
        options: of all runs.
        folder: where they lie.
        seed: of the moments.
    """

    def __init__(self, options: Sequence[str], folder: Path, seed: int) -> None:
        self.options, self.folder = list(options), folder
        self.random = random.Random(seed)
        self.kills: Counter[tuple[str, str]] = Counter()  # step, what was under way
        self.runs, self.ill = 0, list[str]()
        whole = folder / "undisturbed"
        status, operations = start(self._work(whole), whole, Moment(), folder / "undisturbed.log")
        if status != DONE:
            raise SystemExit(f"the undisturbed run ended with status {status}: {_end_of(folder / 'undisturbed.log')}")
        self.expected, self.num_operations = outputs_of(whole / "run"), len(operations)

    def _work(self, outputs: Path) -> Callable[[], object]:
        root = f"data.root={REPOSITORY / 'data' / 'mini_voc'}"
        fixed = ["trainer.accelerator=cpu", "trainer.threads=1", "trainer.num_workers=0", "masks.jobs=1", "logger=none"]
        options = [*self.options, *fixed, root, f"outputs={outputs}", "run=run"]

        def work() -> None:
            run = Run(compose_config(*options))
            with sole_start(run.folder):
                run_pipeline(run)

        return work

    def kill_one(self, most: int) -> None:
        """One run, killed `most` times or until it ends, which it does undisturbed at last; then compared."""
        self.runs += 1
        outputs = self.folder / f"killed_{self.runs}"
        log = self.folder / f"killed_{self.runs}.log"
        work = self._work(outputs)
        for _ in range(most):
            furthest = 2 * self.num_operations // (most + 1)  # so that the last kills reach the last steps
            delay = self.random.choice([None, self.random.uniform(0, LATEST)])
            status, operations = start(work, outputs, Moment(self.random.randint(1, furthest), delay), log)
            if status >= 0:
                break
            event, _, path = operations[-1].partition(" ")
            self.kills[_step_of(path), f"before {event.removeprefix('os.')}" if delay is None else "later"] += 1
        else:
            status, _ = start(work, outputs, Moment(), log)
        if status != DONE:
            self.ill.append(f"{outputs.name}: ended with status {status}: {_end_of(log)}")
            return
        found = outputs_of(outputs / "run")
        apart = sorted(name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name))
        self.ill += [f"{outputs.name}: {name} differs" for name in apart]

    def show(self) -> None:
        """A row a step."""
        kinds = sorted({kind for _, kind in self.kills})
        table = Table("step", *kinds, "kills", title=f"{self.kills.total()} kills of {self.runs} runs")
        for step in sorted({step for step, _ in self.kills}):
            row = [self.kills[step, kind] for kind in kinds]
            table.add_row(step, *(str(number or "") for number in row), str(sum(row)))
        console = Console(width=120)
        console.print(table)
        for line in self.ill:
            console.print(line, soft_wrap=True, markup=False)
        console.print(f"{len(self.ill)} outputs lost or wrong")


def _step_of(path: str) -> str:
    """The step at whose file a run was killed."""
    folders = Path(path).parts[:-1]
    return folders[1] if folders[:1] == ("run",) and len(folders) > 1 else "the run's own files"


def _end_of(log: Path) -> str:
    return " / ".join(log.read_text().splitlines()[-3:])


def main() -> None:
    """Kill, compare, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("options", nargs="*", metavar="option=value", help="of all runs, as masks=irn")
    parser.add_argument("--kills", type=int, default=200, help="in all, at least")
    parser.add_argument("--in-a-run", type=int, default=8, help="of one run, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--limit-images", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="where the runs are kept; default: nowhere")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # before anything forks
    options = ["experiment=smoke", f"limit_images={chosen.limit_images}", *chosen.options]
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        faults = Faults(options, folder, chosen.seed)
        while (left := chosen.kills - faults.kills.total()) > 0:
            faults.kill_one(min(left, chosen.in_a_run))
        faults.show()
    sys.exit(1 if faults.ill else 0)


if __name__ == "__main__":
    main()
