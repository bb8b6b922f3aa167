"""Callbacks that every training has; those that options add are tested in test_train_classifier.py."""

import logging
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader

from wsss.pipeline import callbacks
from wsss.pipeline.callbacks import Bar, LoopLines
from wsss.progress import Pace


class Task(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        return cast(torch.Tensor, self.layer(batch).sum())

    def predict_step(self, batch: torch.Tensor, index: int) -> None:
        return None

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_bar_does_not_name_the_loggers_folder(tmp_path: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=CSVLogger(tmp_path), enable_checkpointing=False)
    assert "v_num" in RichProgressBar().get_metrics(trainer, Task())
    assert "v_num" not in Bar().get_metrics(trainer, Task())


def test_without_a_bar_lines_tell_how_far_an_epoch_or_the_drawing_of_maps_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callbacks, "Pace", partial(Pace, clock=partial(next, count(0, 61))))
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=2, logger=False, callbacks=[LoopLines()], **cast(Any, quiet))
    loader = DataLoader(cast(Any, torch.ones(3, 1)))
    with caplog.at_level(logging.INFO, "wsss"):
        trainer.fit(Task(), loader)
        trainer.predict(Task(), loader, return_predictions=False)
    lines = [record.message for record in caplog.records if record.name == "wsss.progress"]
    assert lines == [
        "epoch 1 of 2, batches: 1 of 3, 1.0 a minute, 2 min 02 s left",
        "epoch 1 of 2, batches: 2 of 3, 1.0 a minute, 1 min 01 s left",
        "epoch 2 of 2, batches: 1 of 3, 1.0 a minute, 2 min 02 s left",
        "epoch 2 of 2, batches: 2 of 3, 1.0 a minute, 1 min 01 s left",
        "batches: 1 of 3, 1.0 a minute, 2 min 02 s left",
        "batches: 2 of 3, 1.0 a minute, 1 min 01 s left",
    ]
