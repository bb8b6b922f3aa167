"""How the processes that share a run are started, and find each other.

They come from torchrun or srun, or from `start`, which a script calls where `trainer.devices` asks for several.
"""

import logging
import os
import signal
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from wsss.errors import InputError
from wsss.pipeline.config import TrainerConfig
from wsss.pipeline.processes import OURS, Group, Place, is_launched, place

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def join(trainer: TrainerConfig) -> None:
    """Make the processes' group, once; Lightning uses it as it is."""
    here = place()
    if here.world == 1 or dist.is_initialized():
        return
    if not is_launched():
        _name_as_torchrun(here)
    uses_gpus = num_gpus(trainer.accelerator) > 0
    if uses_gpus:
        torch.cuda.set_device(here.local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if uses_gpus else "gloo")
    Group.calm = dist.new_group(backend="gloo", timeout=timedelta(days=365))


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
        Group.calm = None


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
        run_id=f"{OURS}{uuid.uuid4().hex}",
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
