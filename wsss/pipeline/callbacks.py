"""Lightning's callbacks and profilers that options add to the trainings."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    RichModelSummary,
    RichProgressBar,
)
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from wsss.pipeline.config import CallbacksConfig, Config, EarlyStoppingConfig
from wsss.progress import Pace

log = logging.getLogger(__name__)

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


class Stopping(EarlyStopping):
    """Lightning's early stopping, which says so, and stays stopped when an interrupted step goes on.

    Args:
        figure: logged on val, the higher the better.
        config: patience and least rise.
    """

    def __init__(self, figure: str, config: EarlyStoppingConfig) -> None:
        assert config.patience is not None
        super().__init__(
            figure, patience=config.patience, min_delta=config.min_delta, mode="max", check_finite=False, verbose=False
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do not go on from a checkpoint that was the last one."""
        trainer.should_stop = trainer.should_stop or self.stopped_epoch > 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it ended."""
        if self.stopped_epoch > 0:
            log.info(
                "stopped early, after epoch %d of %d: %s has not risen in the last %d looks (callbacks.early_stopping)",
                *(self.stopped_epoch + 1, trainer.max_epochs, self.monitor, self.wait_count),
            )


def stops_early(config: Config) -> bool:
    """Whether trainings may end before their epochs are over."""
    return config.callbacks.early_stopping.patience is not None


def stopping_settings(config: Config) -> dict[str, object]:
    """What early stopping adds to the identity of a training's step: nothing, unless it is on."""
    options = config.callbacks.early_stopping
    if options.patience is None:
        return {}
    looks = {"patience": options.patience, "min_delta": options.min_delta, "val_every": config.trainer.val_every}
    return {"early_stopping": looks}


def chosen_callbacks(config: Config, figure: str | None) -> list[Callback]:
    """The callbacks of `callbacks`.

    Args:
        config: all options.
        figure: what the training logs on val; None: nothing.
    """
    options: CallbacksConfig = config.callbacks
    callbacks: list[Callback] = []
    if stops_early(config) and figure is not None:
        callbacks.append(Stopping(figure, options.early_stopping))
    if options.lr_monitor:
        callbacks.append(LearningRateMonitor("step"))
    if options.model_summary:
        callbacks.append(RichModelSummary(max_depth=options.model_summary))
    return callbacks


class LoopLines(Callback):
    """Lines a minute apart on how far an epoch is, or the drawing of maps, where no bar is."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch."""
        title = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, batches"
        self._pace = Pace(title, int(trainer.num_training_batches))

    def on_train_batch_end(self, *args: object) -> None:
        """Count a batch."""
        self._pace.advance()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self._pace = Pace("batches", int(sum(trainer.num_predict_batches)))

    def on_predict_batch_end(self, *args: object) -> None:
        """Count a batch."""
        self._pace.advance()


class Bar(RichProgressBar):
    """Lightning's, without the name of the logger's folder."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What is said behind the bar."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


def progress_bar(config: Config) -> RichProgressBar:
    """The bar, drawn as `callbacks` says."""
    return Bar(refresh_rate=config.callbacks.bar_every, leave=config.callbacks.bar_stays)


def make_profiler(config: Config, folder: Path) -> Profiler | None:
    """The profiler of `trainer.profiler`; it writes to `fit-profile.txt` in the step's folder."""
    kind = config.trainer.profiler
    return None if kind is None else PROFILERS[kind](dirpath=folder, filename="profile")
