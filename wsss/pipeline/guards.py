"""Trainings that go wrong are named while they run, with the probable cause and the option to change."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback

from wsss.errors import InputError
from wsss.tasks import SegmenterTask

log = logging.getLogger(__name__)

DIVERGED = 10.0  # a loss so many times its start is no learning any more
EVERY = 10  # batches between two looks at the loss, which on GPUs must be waited for
COLLAPSED = 0.5  # share of the predicted pixels by which a label may go beyond its share of the masks


class LossGuard(Callback):
    """Stops a training whose loss is no number any more, or has left for other orders of magnitude.

    Args:
        step: group of its options.
        lr: its learning rate.
        folder: where its checkpoints lie.
    """

    def __init__(self, step: str, lr: float, folder: Path) -> None:
        self.step, self.lr, self.folder = step, lr, folder
        self.start: float | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss.

        Raises:
            InputError: if it tells of divergence.
        """
        if batch_idx % EVERY and not trainer.is_last_batch:
            return
        loss = float(trainer.strategy.reduce(outputs["loss"].detach().clone(), reduce_op="mean"))  # all judge alike
        if self.start is None:
            self.start = loss
        if math.isfinite(loss) and loss <= DIVERGED * max(self.start, 1.0):
            return
        became = f"rose from {self.start:.3g} to {loss:.3g}" if math.isfinite(loss) else f"is {loss}"
        raise InputError(
            f"{self.step}: the loss {became} in epoch {trainer.current_epoch + 1}, step {trainer.global_step}: the "
            f"learning rate is too high for the batch ({self.step}.optimizer.lr={self.lr:g}); lower it, or add "
            f"{self.step}.optimizer.warmup{self._kept()}"
        )

    def _kept(self) -> str:
        # The epoch best on val becomes a model file, see `train_segmenter`.
        is_there = (self.folder / "best.ckpt").exists()
        return f" (the best epoch is kept as {self.folder.parent / 'best.pt'})" if is_there else ""


class PredictionGuard(Callback):
    """Warns, while there is time, of a segmenter that has collapsed to background.

    Of several processes the first judges, by its share of the images.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare what was predicted in this epoch with what the masks say."""
        assert isinstance(pl_module, SegmenterTask)
        labelled, predicted = pl_module.labelled, pl_module.predicted
        if labelled[1:].any() and not predicted[1:].any():
            log.warning(
                "epoch %d: the segmenter predicts background alone, while %.0f %% of its masks are foreground; if that "
                "stays so, try segmenter.loss.class_balance=0.5, more segmenter.epochs or another "
                "segmenter.optimizer.lr",
                trainer.current_epoch + 1,
                100 * float(labelled[1:].sum() / labelled.sum()),
            )


def warn_of_collapse(predicted: NDArray[np.int64], labelled: NDArray[np.int64], labels: Sequence[str]) -> None:
    """Warn of a trained network that gives one label nearly everything, or a label nothing.

    Args:
        predicted: pixels of the val images that it gave each label, (L,).
        labelled: pixels of each label in the masks that it was trained on, (L,).
        labels: names, background first.
    """
    shares, taught = predicted / predicted.sum(), labelled / labelled.sum()
    most = int((shares - taught).argmax())
    if shares[most] - taught[most] > COLLAPSED:
        log.warning(
            "the segmenter has collapsed: %.0f %% of the val pixels are %s to it, as %.0f %% are in the masks it was "
            "trained on; try another segmenter.optimizer.lr, more segmenter.epochs or segmenter.loss.class_balance=0.5",
            100 * shares[most],
            labels[most],
            100 * taught[most],
        )
    never = [name for name, has, given in zip(labels, labelled, predicted, strict=True) if has and not given]
    if never:
        log.warning(
            "the segmenter sees no %s in any val image, which its masks hold; try segmenter.loss.class_balance=0.5 or "
            "more segmenter.epochs",
            ", ".join(never),
        )


def check_masks_teach(counts: NDArray[np.int64], labels: Sequence[str], folder: Path, *, own: bool) -> None:
    """Refuse masks from which nothing can be learnt, and name classes that they never show.

    Args:
        counts: pixels of each label in all of them, (L + 1,), void last.
        labels: names, background first.
        folder: where they lie.
        own: whether the run has made them.

    Raises:
        InputError: if all pixels are void, or background.
    """
    known = counts[:-1]
    if not known.any():
        remedy = "lower masks.fg_margin and masks.bg_margin, or choose masks=crf" if own else "look at the files"
        raise InputError(f"{folder}: every pixel of every mask is void, there is nothing to learn; {remedy}")
    if not known[1:].any():
        remedy = "lower masks.threshold, and look at the seeds" if own else "look at the files"
        raise InputError(f"{folder}: the masks are background alone; {remedy}")
    never = [name for name, count in zip(labels, known, strict=True) if not count]
    if never:
        log.warning("%s: no mask holds %s, which cannot be learnt", folder, ", ".join(never))
