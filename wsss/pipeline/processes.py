"""The processes that share a run: which one this is, what the first alone does, and how they are started.

Each runs the same script. All train and draw seeds; what else there is to do the first does, while the others wait.
They come from torchrun or srun, or from `start`, which a script calls where `trainer.devices` asks for several.
"""

import ctypes
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wsss.errors import InputError
from wsss.pipeline.config import TrainerConfig

T = TypeVar("T")

# Seconds in which the first process's end reaches the others.
PATIENCE = 10
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h
_OURS = "wsss-"  # start of the name of a group of processes that `start` has made


class Place(NamedTuple):
    """A process among those of the run, and among those of its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def place() -> Place:
    """This process's place, as torchrun, srun or `start` tells it; alone without them."""
    if dist.is_torchelastic_launched():
        return Place(*(int(os.environ[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    # Of srun's step: a batch script that starts python without srun has the job's variables, and is alone.
    tasks, nodes = (int(os.environ.get(f"SLURM_STEP_NUM_{what}", 1)) for what in ("TASKS", "NODES"))
    if tasks > 1:
        return Place(int(os.environ["SLURM_PROCID"]), tasks, int(os.environ["SLURM_LOCALID"]), tasks // nodes)
    return Place()


def is_first() -> bool:
    """Whether this process speaks, scores and writes."""
    return place().rank == 0


class _Group:
    """The group that processes wait in for one another, however long; None before `join`, or alone."""

    calm: Any = None
    first_is_busy = False


def join(trainer: TrainerConfig) -> None:
    """Make the processes' group, once; Lightning uses it as it is."""
    here = place()
    if here.world == 1 or dist.is_initialized():
        return
    if not dist.is_torchelastic_launched():
        _name_as_torchrun(here)
    uses_gpus = num_gpus(trainer.accelerator) > 0
    if uses_gpus:
        torch.cuda.set_device(here.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if uses_gpus else "gloo")
    _Group.calm = dist.new_group(backend="gloo", timeout=timedelta(days=365))


def _name_as_torchrun(here: Place) -> None:
    """Say what srun has said in the variables that torch and Lightning read."""
    job, step = (int(os.environ.get(f"SLURM_{what}_ID", 0)) for what in ("JOB", "STEP"))
    nodes = os.environ.get("SLURM_STEP_NODELIST", "127.0.0.1")
    os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(nodes))
    os.environ.setdefault("MASTER_PORT", str(15000 + (job + step) % 10000))
    places = {"RANK": here.rank, "WORLD_SIZE": here.world, "LOCAL_RANK": here.local_rank}
    places |= {"LOCAL_WORLD_SIZE": here.local_world, "GROUP_RANK": here.rank // here.local_world}
    os.environ.update({key: str(value) for key, value in places.items()})


def leave() -> None:
    """End the group, at the end of a script."""
    if dist.is_initialized():
        dist.destroy_process_group()
        _Group.calm = None


def on_first(work: Callable[[], T]) -> T:
    """Have the first process do something; the others wait for it, and get its value too (plain ones only).

    Where it fails, the others end, without a word and with the same status. Within `work`, and alone, a plain call.
    """
    if _Group.calm is None or _Group.first_is_busy:
        return work()
    if not is_first():
        status, value = _broadcast()
        if status:
            sys.exit(status)
        return value  # type: ignore[no-any-return]
    try:
        _Group.first_is_busy = True
        value = work()
    except BaseException as error:
        with suppress(RuntimeError):  # the others have been interrupted too
            _broadcast((_status_of(error), None))
        raise
    finally:
        _Group.first_is_busy = False
    _broadcast((0, value))
    return value


def in_turn(work: Callable[[], T]) -> T:
    """Do something in all processes, in the first before the others, which find what it has left on the disk."""
    made: list[T] = []
    on_first(lambda: made.append(work()))
    return made[0] if made else work()


def _broadcast(said: object = None) -> Any:
    heard = [said]
    dist.broadcast_object_list(heard, src=0, group=_Group.calm)
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
    """Exit status after an interruption, as shells have it: 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1."""
    return 128 + _Asked.signal


def end_on_signals() -> None:
    """End as Ctrl-C does where a cluster or `kill` asks; processes beside the first go without a word.

    SIGTERM is what clusters send before they take a machine back, SIGUSR1 what `sbatch --signal=USR1@120` asks for.
    """

    def interrupt(number: int, frame: object) -> None:
        _Asked.signal = number
        if not is_first():
            os._exit(interrupted_status())  # it may be waiting for the first, and holds nothing that is not on the disk
        raise KeyboardInterrupt

    with suppress(ValueError):  # not the main thread: its signals are not ours
        for which in (signal.SIGTERM, *_of_clusters()):
            signal.signal(which, interrupt)
        if not is_first():
            signal.signal(signal.SIGINT, interrupt)
    if was_started_here() and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # no process outlives the one that started it


def _of_clusters() -> list[signal.Signals]:
    return [signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []


def was_started_here() -> bool:
    """Whether `start` has started this process, and speaks for it where both are interrupted."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "").startswith(_OURS)


def num_gpus(accelerator: str) -> int:
    """GPUs of this machine that `trainer.accelerator` means."""
    return torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0


def wanted(trainer: TrainerConfig) -> int:
    """The number of processes on this machine that the options ask for.

    Raises:
        InputError: if there are fewer GPUs, or torchrun or srun has started another number.
    """
    gpus, here = num_gpus(trainer.accelerator), place()
    if trainer.devices == "auto":
        return here.local_world if here.world > 1 else max(gpus, 1)
    number = int(trainer.devices)
    if 0 < gpus < number:
        raise InputError(f"trainer.devices={number}: this machine has {gpus} GPUs; name no more, or pass trainer=cpu")
    if here.world > 1 and here.local_world != number:
        raise InputError(
            f"trainer.devices={number}: {here.local_world} processes were started here; leave the option out"
        )
    return number


def start(number: int, command: Sequence[str]) -> int:
    """Run a command in so many processes of this machine, which find each other; its exit status.

    Raises:
        KeyboardInterrupt: if a signal ends them.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # the processes speak for themselves
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id=f"{_OURS}{uuid.uuid4().hex}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    handlers = {which: signal.getsignal(which) for which in _SIGNALS}
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            raise InputError(
                f"process {rank} of {number} was killed (signal {-failure.exitcode}): often for want of memory; a "
                "smaller batch_size or fewer trainer.devices take less, and the same command goes on from here"
            ) from None
        return failure.exitcode
    finally:
        with suppress(ValueError):  # not the main thread
            for which, handler in handlers.items():
                signal.signal(which, handler)
    return 0
