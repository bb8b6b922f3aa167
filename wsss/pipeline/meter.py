"""Clocks and scales: how long the parts of a training take, and how much memory a block of work does."""

import ctypes
import gc
import platform
import threading
import time
from types import TracebackType
from typing import Any

import psutil
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from wsss.pipeline.cost_model import Memory

EVERY_S = 0.1  # between two looks at the memory


class TrainingClock(Callback):
    """Times of a training, from within.

    Attributes:
        steps: seconds of each optimiser step, loading included.
        val_seconds: spent on the val split.
        val_images: seen there.
        epochs: seconds of what comes after an epoch's last step or its look at val, checkpoints above all.
        begun: when the training began, by `time.monotonic`.
        ended: when it was over.
    """

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epochs: list[float] = []
        self.val_seconds, self.val_images = 0.0, 0
        self.begun = self.ended = self._last = time.monotonic()
        self._ending: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin."""
        self.begun = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last epoch has ended, and the next step begins."""
        self._last = time.monotonic()
        self._end_epoch()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step."""
        now = _now(pl_module)
        self.steps.append(now - self._last)
        self._last = now

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A look at val begins."""
        self._last = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Some of its images."""
        self.val_images += len(batch.images)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """It has ended; what follows is the checkpoint's."""
        self._ending = _now(pl_module)
        self.val_seconds += self._ending - self._last

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Without a look at val, the checkpoint's time begins here."""
        self._ending = self._ending or time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last checkpoint is written."""
        self._end_epoch()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End."""
        self.ended = time.monotonic()

    def _end_epoch(self) -> None:
        if self._ending is not None:
            self.epochs.append(time.monotonic() - self._ending)
        self._ending = None


def _now(module: pl.LightningModule) -> float:
    """The time when the device has done what it was given."""
    if module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.monotonic()


class MemoryMeter:
    """Largest memory of this process and those it has started, while the block runs.

    What the allocators have kept from before is given back first. Processes share pages, which are counted for each.

    Attributes:
        peak: the largest.
        added: how much more that is than at the start.
    """

    def __init__(self) -> None:
        self.peak = self.added = Memory()
        self._done = threading.Event()
        self._largest = 0

    def __enter__(self) -> "MemoryMeter":
        gc.collect()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self._start = Memory(_resident(), _on_gpu())
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.peak = Memory(max(self._largest, _resident()), _on_gpu())
        self.added = Memory(self.peak.ram - self._start.ram, self.peak.gpu - self._start.gpu)

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self._largest = max(self._largest, _resident())


def _resident() -> int:
    """Bytes of this process and its children."""
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it has ended since
            continue
    return total


def _on_gpu() -> int:
    """The largest part of the GPU that torch has held."""
    return torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0


def free_memory(device: torch.device) -> int:
    """Bytes that are free where networks run."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
