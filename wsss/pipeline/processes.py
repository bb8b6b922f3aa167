"""The processes that share a run: which one this is, what the first alone does, and how signals end them.

Each runs the same script. All train and draw seeds; what else there is to do the first does, while the others wait.
Torch is not loaded here: `wsss.pipeline.process_group` has what needs it.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from wsss.errors import InputError

T = TypeVar("T")

# Seconds in which the first process's end reaches the others.
PATIENCE = 10
_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h
_ASKING = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]
OURS = "wsss-"  # start of the name of a group of processes that `start` has made


class Place(NamedTuple):
    """A process among those of the run, and among those of its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def place() -> Place:
    """This process's place, as torchrun, srun or `start` tells it; alone without them."""
    if is_launched():
        return Place(*(int(os.environ[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    # Of srun's step: a batch script that starts python without srun has the job's variables, and is alone.
    tasks, nodes = (int(os.environ.get(f"SLURM_STEP_NUM_{what}", 1)) for what in ("TASKS", "NODES"))
    if tasks > 1:
        return Place(int(os.environ["SLURM_PROCID"]), tasks, int(os.environ["SLURM_LOCALID"]), tasks // nodes)
    return Place()


def is_launched() -> bool:
    """Whether torchrun or `start` has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Whether this process speaks, scores and writes."""
    return place().rank == 0


class Group:
    """The group that processes wait in for one another, however long; None before `process_group.join`, or alone."""

    calm: Any = None
    first_is_busy = False


def on_first(work: Callable[[], T]) -> T:
    """Have the first process do something; the others wait for it, and get its value too (plain ones only).

    Where it fails, the others end, without a word and with the same status. Within `work`, and alone, a plain call.
    """
    if Group.calm is None or Group.first_is_busy:
        return work()
    if not is_first():
        status, value = _broadcast()
        if status:
            sys.exit(status)
        return value  # type: ignore[no-any-return]
    try:
        Group.first_is_busy = True
        value = work()
    except BaseException as error:
        with suppress(RuntimeError):  # the others have been interrupted too
            _broadcast((_status_of(error), None))
        raise
    finally:
        Group.first_is_busy = False
    _broadcast((0, value))
    return value


def in_turn(work: Callable[[], T]) -> T:
    """Do something in all processes, in the first before the others, which find what it has left on the disk."""
    made: list[T] = []
    on_first(lambda: made.append(work()))
    return made[0] if made else work()


def _broadcast(said: object = None) -> Any:
    import torch.distributed as dist  # there are several processes: it is loaded

    heard = [said]
    dist.broadcast_object_list(heard, src=0, group=Group.calm)
    return heard[0]


def _status_of(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return interrupted_status()
    return 2 if isinstance(error, InputError) else 1


@contextmanager
def first_speaks() -> Iterator[None]:
    """Leave it to the first process to tell of a fault that all meet: its end ends the others, which wait for it."""
    try:
        yield
    except Exception:
        if not is_first():
            time.sleep(PATIENCE)
        raise


class _Asked:
    """The signal that has asked this process to end."""

    signal: int = signal.SIGINT


def interrupted_status() -> int:
    """Exit status after an interruption, as shells have it: 128 and the signal's number, so 130 for Ctrl-C."""
    return 128 + _Asked.signal


def end_on_signals() -> None:
    """End as Ctrl-C does where a cluster or `kill` asks; processes beside the first go without a word.

    SIGTERM is what clusters send before they take a machine back, SIGUSR1 what `sbatch --signal=USR1@120` asks for,
    SIGHUP what a terminal sends that is closed.
    """

    def interrupt(number: int, frame: object) -> None:
        _Asked.signal = number
        if not is_first():
            os._exit(interrupted_status())  # it may be waiting for the first, and holds nothing that is not on the disk
        raise KeyboardInterrupt

    with suppress(ValueError):  # not the main thread: its signals are not ours
        for which in _ASKING:
            if signal.getsignal(which) is not signal.SIG_IGN:  # as nohup has SIGHUP
                signal.signal(which, interrupt)
        if not is_first():
            signal.signal(signal.SIGINT, interrupt)
    if was_started_here() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # no process outlives the one that started it


def was_started_here() -> bool:
    """Whether `start` has started this process, and speaks for it where both are interrupted."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(OURS)


def default_workers(cores: int) -> int:
    """Loader processes of a training that has so many cores."""
    return 0 if cores <= 2 else min(cores // 2, 8)
