"""What the training steps share: the trainer, transforms, data and optimiser of an options group."""

import copy
import ctypes
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from joblib import cpu_count
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.strategies import FSDPStrategy
from rich.console import Console
from timm.layers import convert_sync_batchnorm
from torch.distributed.fsdp.wrap import CustomPolicy
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from wsss.data import derived_seed, train_transform
from wsss.errors import InputError, WorkerDiedError
from wsss.memory import is_out_of_memory
from wsss.models import Backbone
from wsss.models.files import read_checkpoint
from wsss.pipeline.callbacks import LoopLines, chosen_callbacks, make_profiler, progress_bar, stops_early
from wsss.pipeline.config import AugmentConfig, Config, OptimizerConfig
from wsss.pipeline.guards import LossGuard
from wsss.pipeline.loggers import start_loggers
from wsss.pipeline.processes import default_workers, end_on_signals, on_first, place
from wsss.tasks import make_optimizer
from wsss.writing import whole_file

if TYPE_CHECKING:
    from wsss.pipeline.step import Step

log = logging.getLogger(__name__)

_watchers: ContextVar[tuple[Callback, ...]] = ContextVar("watchers", default=())

# How torch tells of a loader process that was killed, and of an error in one.
_DEAD_LOADER, _OF_LOADER = "DataLoader worker (pid", "in DataLoader worker process"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


class EpochLines(Callback):
    """One log line an epoch, for terminals without bars and for the log file."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tell the epoch's figures; its validation has run by now."""
        shown = {
            k: float(v) for k, v in trainer.callback_metrics.items() if "/ap_" not in k and not k.endswith("_step")
        }
        figures = ", ".join(f"{name} {value:.3f}" for name, value in sorted(shown.items()))
        log.info("epoch %d of %d: %s", trainer.current_epoch + 1, trainer.max_epochs, figures)


class EpochSeed(Callback):
    """Random numbers of the network itself (dropout) that follow from seed, epoch and process alone.

    A training that goes on from a checkpoint draws what it would have drawn, and nothing that draws between two epochs,
    such as a look at the val split, changes it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the epoch."""
        torch.manual_seed(derived_seed(self.seed, trainer.current_epoch, trainer.global_rank))


class OwnSignals(Callback):
    """Has SIGTERM end the work at once; Lightning would have processes agree that may wait for one another."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it back from Lightning."""
        end_on_signals()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take it back from Lightning."""
        end_on_signals()


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; Lightning's own come from another file system piece by piece."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write one."""
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)


def fit(
    config: Config,
    task: pl.LightningModule,
    data: pl.LightningDataModule,
    step: "Step",
    *,
    epochs: int,
    guarded: str,
    callbacks: Sequence[Callback] = (),
    figure: str | None = None,
    keep_best: bool = False,
) -> pl.Trainer:
    """Train, from the last epoch's checkpoint in the step's folder where an interrupted run left one.

    Args:
        config: trainer, loggers and callbacks.
        task: what is trained.
        data: its loaders.
        step: what the training is of.
        epochs: how long, unless it is stopped early.
        guarded: the task's group of options, for messages.
        callbacks: further ones.
        figure: what the task logs on val, the higher the better; None: nothing.
        keep_best: keep the checkpoint of the epoch where that is highest as best.ckpt.

    Raises:
        InputError: if the loss diverges, a checkpoint is damaged, or a logger cannot be had.
    """
    folder = step.folder
    checkpoint = folder / "checkpoints" / "last.ckpt"
    is_begun = on_first(checkpoint.exists)
    if is_begun:
        _check_checkpoint(checkpoint, task)
        log.info("continuing from %s", checkpoint)
    step.loggers = start_loggers(config, folder)
    trained, strategy = _for_processes(config, task)
    trainer = _trainer(
        config,
        strategy=strategy,
        max_epochs=epochs,
        logger=step.loggers,
        profiler=make_profiler(config, folder),
        callbacks=[
            *_watchers.get(),
            *callbacks,
            EpochSeed(config.seed),
            LossGuard(guarded, attrgetter(f"{guarded}.optimizer.lr")(config), checkpoint.parent),
            *chosen_callbacks(config, figure),
            *_epoch_callbacks(config, checkpoint.parent, figure if keep_best else None),
        ],
        num_sanity_val_steps=0,
        check_val_every_n_epoch=config.trainer.val_every,
        log_every_n_steps=min(10, len(data.train_dataloader())),  # of short trainings, too, curves are drawn
    )
    ended = _ended_epochs(checkpoint, epochs) if is_begun else None
    if ended is None:
        with _plain_ends(f"a lower {guarded}.batch_size or smaller {guarded}.augment.crop"):
            trainer.fit(trained, datamodule=data, ckpt_path=str(checkpoint) if is_begun else None, weights_only=True)
    if trained is not task or ended is not None:
        # What Lightning would restore of a training that has ended are not the averaged weights.
        task.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    if stops_early(config):
        number = trainer.current_epoch if ended is None else ended
        step.add_figure(f"{step.name}/epochs", number, split=config.data.val, figure=figure)
    return trainer


def _for_processes(config: Config, task: pl.LightningModule) -> tuple[pl.LightningModule, str | FSDPStrategy]:
    """What Lightning trains, by which strategy: the task itself, or a copy that it takes to pieces."""
    if place().world > 1 and config.trainer.sync_batchnorm:
        task.model = convert_sync_batchnorm(task.model)
    if place().world == 1 or config.trainer.strategy != "fsdp":
        return task, "ddp"
    pieces = copy.deepcopy(task)
    return pieces, _sharded(pieces)


def _ended_epochs(checkpoint: Path, epochs: int) -> int | None:
    """After how many epochs the training that has left a checkpoint had ended, by itself or early; None: it had not."""
    content = read_checkpoint(checkpoint)
    number = int(content["epoch"]) + 1
    states = [state for name, state in content["callbacks"].items() if name.startswith("EarlyStopping")]
    is_over = number >= epochs or any(state["wait_count"] >= state["patience"] for state in states)
    return number if is_over else None


def _check_checkpoint(path: Path, task: pl.LightningModule) -> None:
    """Refuse a checkpoint that Lightning would fail over, or that is of another network."""
    content = read_checkpoint(path)
    optimizers = content.get("optimizer_states")
    shapes, wanted = (
        {name: tensor.shape for name, tensor in state.items()} for state in (content["state_dict"], task.state_dict())
    )
    is_whole = (
        shapes == wanted
        and all(isinstance(content.get(key), int) for key in ("epoch", "global_step"))
        and isinstance(optimizers, list)
        and all(isinstance(state, dict) and {"state", "param_groups"} <= state.keys() for state in optimizers)
    )
    if not is_whole:
        raise InputError(f"{path}: not a checkpoint of this training; delete it and run the step again")


def _sharded(task: pl.LightningModule) -> FSDPStrategy:
    """A backbone's stages are gathered one at a time; the rest, small or called by other names, as a whole."""
    backbones = [module for module in task.modules() if isinstance(module, Backbone)]
    stages = {id(stage) for backbone in backbones for stage in backbone.stages.values()}
    return FSDPStrategy(
        auto_wrap_policy=CustomPolicy(lambda module: id(module) in stages),  # type: ignore[arg-type]  # torch takes it
        state_dict_type="full",  # checkpoints are as those of one process
        sync_module_states=True,
    )


@contextmanager
def watched_by(callback: Callback) -> Iterator[None]:
    """Have a callback look at every training in the block, as a plan does that measures the steps as they are."""
    token = _watchers.set((*_watchers.get(), callback))
    try:
        yield
    finally:
        _watchers.reset(token)


def predict(config: Config, task: pl.LightningModule, loader: Callable[..., DataLoader[Any]]) -> None:
    """Run a task's `predict_step` over `loader(shard=…)`, which is told this process's place among how many."""
    trainer = _trainer(
        config,
        logger=False,
        callbacks=_progress(config),
        enable_checkpointing=False,
        inference_mode=False,  # maps need gradients
    )
    batches = loader(shard=shard())
    with _plain_ends("a smaller cam.resize_long or cam.scales"):
        trainer.predict(task, batches, return_predictions=False)
    trainer.strategy.barrier()


def shard() -> tuple[int, int]:
    """This process's number among how many, for loaders."""
    return place().rank, place().world


def _trainer(
    config: Config, *, strategy: str | FSDPStrategy = "ddp", callbacks: Sequence[Callback] = (), **options: Any
) -> pl.Trainer:
    here = place()
    is_alone = here.world == 1
    return pl.Trainer(
        accelerator=config.trainer.accelerator,
        devices=here.local_world,
        num_nodes=here.world // here.local_world,
        strategy="auto" if is_alone else strategy,
        # Named, or Lightning would take a batch script's one process for one of several, and have SLURM start it again.
        plugins=[LightningEnvironment() if is_alone else TorchElasticEnvironment(), WholeCheckpoints()],
        use_distributed_sampler=False,  # the loaders see to it
        callbacks=[*callbacks, OwnSignals()],
        precision=precision(config.trainer.precision, config.trainer.accelerator),  # type: ignore[arg-type]  # checked there
        enable_progress_bar=show_progress(config),
        enable_model_summary=False,
        deterministic="warn" if config.trainer.deterministic else None,
        **options,
    )


@contextmanager
def _plain_ends(advice: str) -> Iterator[None]:
    """How Lightning and the loaders' processes end, as the rest of the program knows it.

    Args:
        advice: what needs less memory.

    Raises:
        WorkerDiedError: if a loader process was killed.
        InputError: if memory does not suffice, or what a loader process has found wrong.
    """
    try:
        yield
    except SystemExit:  # how Lightning answers Ctrl-C and SIGTERM
        raise KeyboardInterrupt from None
    except InputError as error:
        if _OF_LOADER not in str(error):
            raise
        raise InputError(str(error).rpartition("InputError: ")[2].strip()) from None
    except Exception as error:
        if isinstance(error, RuntimeError) and str(error).startswith(_DEAD_LOADER):
            raise WorkerDiedError(
                "a loader process was killed, by want of memory perhaps; fewer need less (trainer.num_workers=0), and "
                "the same command goes on from here"
            ) from None
        if not is_out_of_memory(error):
            raise
        raise InputError(f"out of memory; {advice} need less, and what is finished is kept") from None


def precision(wanted: str, accelerator: str) -> str:
    """Resolve `auto`: bf16 on GPUs that have it and CPUs with AMX; elsewhere emulated bf16 is slower than float32."""
    if wanted != "auto":
        return wanted
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if torch.cpu.get_capabilities().get("amx_bf16", False) else "32-true"


def device_of(config: Config) -> torch.device:
    """Where the steps that do not train run their network.

    Raises:
        InputError: if a GPU is asked for that is not there.
    """
    accelerator, is_there = config.trainer.accelerator, torch.cuda.is_available()
    if (accelerator == "cuda" or (accelerator == "gpu" and not torch.backends.mps.is_available())) and not is_there:
        raise InputError(f"trainer.accelerator={accelerator}: torch finds no such GPU here; pass trainer=cpu")
    use_cuda = accelerator in ("auto", "gpu", "cuda") and is_there
    return torch.device("cuda" if use_cuda else "cpu")


def autocast(config: Config) -> torch.autocast:
    """The trainer's precision, for the steps that do not train."""
    resolved = precision(config.trainer.precision, config.trainer.accelerator)
    dtype = torch.float16 if resolved.startswith("16") else torch.bfloat16
    return torch.autocast(device_of(config).type, dtype=dtype, enabled=resolved.endswith("mixed"))


def prepare(config: Config) -> None:
    """Seed everything and set threads, memory and determinism, at the start of each step."""
    keep_freed_memory()
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    torch.use_deterministic_algorithms(config.trainer.deterministic, warn_only=True)
    if config.trainer.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    pl.seed_everything(config.seed, workers=True, verbose=False)


def keep_freed_memory() -> None:
    """Have glibc reuse freed feature maps instead of handing them back to the kernel.

    By default each map beyond 32 MB is mapped anew and its pages zeroed by the kernel, which at inference on CPUs
    costs up to half of the time. Other allocators need no such hint.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def augmentation(config: AugmentConfig) -> v2.Transform:
    """The training transform of an options group."""
    return train_transform(**asdict(config))


def optimizer_options(config: OptimizerConfig) -> Mapping[str, Any]:
    """Keyword arguments of a `PolyTask` from an options group."""
    factory = partial(
        make_optimizer, name=config.name, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return {
        "optimizer": factory,
        "head_lr_factor": config.head_lr_factor,
        "bias_lr_factor": config.bias_lr_factor,
        "poly_power": config.poly_power,
        "warmup": config.warmup,
    }


def _epoch_callbacks(config: Config, checkpoints: Path, best: str | None) -> list[Callback]:
    """What tells of each epoch, shows how far it is and keeps its weights."""
    one_file: dict[str, Any] = {"save_top_k": 1, "enable_version_counter": False}
    callbacks: list[Callback] = [EpochLines()]
    if best is not None:
        weights: dict[str, Any] = {"monitor": best, "mode": "max", "save_weights_only": True}
        callbacks.append(ModelCheckpoint(checkpoints, "best", **weights, **one_file))
    # Without a monitored figure, "the best one" is the newest: one file, written at the end of each epoch. After the
    # other, which would be missing from an epoch that is not trained again.
    callbacks.append(ModelCheckpoint(checkpoints, "last", save_on_train_epoch_end=True, **one_file))
    return callbacks + _progress(config)


def _progress(config: Config) -> list[Callback]:
    if not config.trainer.progress:
        return []
    return [progress_bar(config) if show_progress(config) else LoopLines()]


def num_workers(config: Config) -> int:
    """Loader processes, as many as leave the cores to the training."""
    if config.trainer.num_workers is not None:
        return config.trainer.num_workers
    return default_workers(cpu_count() // place().local_world)


def show_progress(config: Config) -> bool:
    """Whether Lightning draws bars: on terminals, unless told not to."""
    return config.trainer.progress and Console().is_terminal
