"""Trainings that come to the same weights, bit for bit, whatever happens beside them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from tests.pipeline.conftest import SMALL
from wsss.models.files import read_model
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import mask_lesson, train_segmenter
from wsss.pipeline.training import WholeCheckpoints, watched_by

# With dropout, a moving average and the colours, sizes and places of the demo's augmentation.
OPTIONS = (*SMALL, "segmenter=deeplab_v3", "segmenter.epochs=3", "segmenter.augment.crop=64", "logger=none")


class Interruption(Callback):
    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


@pytest.fixture
def train(make_run: Callable[..., Run], own_masks: Path) -> Callable[..., dict[str, Tensor]]:
    def trained(name: str, *options: str) -> dict[str, Tensor]:
        run = make_run(*OPTIONS, f"segmenter.masks={own_masks}", f"run={name}", "reuse=false", *options)
        step = train_segmenter(run, mask_lesson(run))
        return read_model(step.folder / "model.pt", kinds=("segmenter",)).state_dict

    return trained


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_looks_at_val_loader_processes_and_interruptions_change_no_weight(
    train: Callable[..., dict[str, Tensor]],
) -> None:
    undisturbed = train("undisturbed")
    assert_equal(undisturbed, train("fewer_looks", "trainer.val_every=3"))
    assert_equal(undisturbed, train("loaders", "trainer.num_workers=1"))
    with pytest.raises(KeyboardInterrupt), watched_by(Interruption()):
        train("interrupted")
    assert_equal(undisturbed, train("interrupted"))
    other = train("other_seed", "seed=1")
    assert not all(torch.equal(value, other[name]) for name, value in undisturbed.items())


def test_a_training_that_was_killed_after_its_last_epoch_keeps_its_weights(
    make_run: Callable[..., Run], own_masks: Path
) -> None:
    stopping = [
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "callbacks.early_stopping.min_delta=1",
    ]
    options = [*OPTIONS, f"segmenter.masks={own_masks}", "segmenter.epochs=4", "callbacks=early_stopping", *stopping]
    run = make_run(*options)
    step = train_segmenter(run, mask_lesson(run))
    before = read_model(step.folder / "model.pt", kinds=("segmenter",)).state_dict
    (step.folder / "model.pt").unlink()
    again = train_segmenter(make_run(*options), mask_lesson(run))
    assert_equal(before, read_model(step.folder / "model.pt", kinds=("segmenter",)).state_dict)
    assert again.figures == step.figures
    assert step.figures["segmenter/epochs"] < 4


def test_the_checkpoint_to_go_on_from_is_an_epochs_last(
    train: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = WholeCheckpoints.save_checkpoint

    def record(io: WholeCheckpoints, checkpoint: dict[str, object], path: str | Path, **options: object) -> None:
        saved.append(Path(path).name)
        save(io, checkpoint, path)

    monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", record)
    train("run")
    assert saved[:2] == ["best.ckpt", "last.ckpt"]  # or a kill between them would leave an ended epoch without its best
    assert saved.count("last.ckpt") == 3
