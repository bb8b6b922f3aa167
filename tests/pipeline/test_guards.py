"""Forced failures of a training: each ends in its own message."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.pipeline.conftest import SMALL
from wsss.data import read_mask, save_mask
from wsss.errors import InputError
from wsss.models import Segmenter, load_segmenter
from wsss.pipeline.guards import LossGuard, PredictionGuard, check_masks_teach, warn_of_collapse
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import mask_lesson, train_segmenter
from wsss.tasks import SegmenterTask


def fill(folder: Path, value: int) -> None:
    for path in folder.glob("*.png"):
        save_mask(path, np.full_like(read_mask(path), value))


def train(make_run: Callable[..., Run], folder: Path, *overrides: str) -> Run:
    run = make_run(*SMALL, f"segmenter.masks={folder}", *overrides)
    train_segmenter(run, mask_lesson(run))
    return run


def test_a_learning_rate_of_a_thousand_is_named(make_run: Callable[..., Run], own_masks: Path) -> None:
    message = r"segmenter: the loss .* the learning rate is too high for the batch \(segmenter\.optimizer\.lr=1000\)"
    with pytest.raises(InputError, match=message) as caught:
        train(make_run, own_masks, "segmenter.optimizer.lr=1e3", "segmenter.epochs=3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "says"), [(255, "every pixel of every mask is void"), (0, "background alone")])
def test_masks_that_teach_nothing_are_refused_before_training(
    make_run: Callable[..., Run], own_masks: Path, value: int, says: str
) -> None:
    fill(own_masks, value)
    with pytest.raises(InputError, match=rf"corrected: .*{says}.*; look at the files"):
        train(make_run, own_masks)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ([0, 0, 0, 9], r"is void, .* lower masks\.fg_margin and masks\.bg_margin, or choose masks=crf"),
        ([9, 0, 0, 1], r"background alone; lower masks\.threshold"),
    ],
)
def test_the_runs_own_masks_name_the_option_that_made_them_so(counts: list[int], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        check_masks_teach(np.array(counts), ["background", "bird", "cow"], tmp_path, own=True)


def test_a_class_that_no_mask_holds_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_masks_teach(np.array([5, 4, 0, 0]), ["background", "bird", "cow"], tmp_path, own=True)
    assert "no mask holds cow, which cannot be learnt" in caplog.text


def test_a_class_beyond_the_head_is_refused_before_training(make_run: Callable[..., Run], own_masks: Path) -> None:
    fill(own_masks, 6)  # of five classes
    with pytest.raises(InputError, match=r"\.png: label value 6 is out of range \(0 to 5, or 255 for void\)"):
        train(make_run, own_masks)


@pytest.mark.parametrize(("losses", "says"), [([1.0, float("nan")], "is nan"), ([2.0, 30.0], "rose from 2 to 30")])
def test_a_loss_that_leaves_is_named_with_the_epoch_that_is_kept(
    tmp_path: Path, losses: list[float], says: str
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    guard = LossGuard("recam", 0.5, tmp_path / "checkpoints")
    alone = SimpleNamespace(reduce=lambda loss, reduce_op: loss)
    trainer = SimpleNamespace(is_last_batch=True, current_epoch=4, global_step=77, strategy=alone)
    guard.on_train_batch_end(trainer, None, {"loss": torch.tensor(losses[0])}, None, 0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"recam: the loss {says} in epoch 5, step 77.*best\.pt"):
        guard.on_train_batch_end(trainer, None, {"loss": torch.tensor(losses[1])}, None, 1)  # type: ignore[arg-type]


def test_a_loss_between_two_looks_is_not_waited_for(tmp_path: Path) -> None:
    guard = LossGuard("segmenter", 0.5, tmp_path)
    trainer = SimpleNamespace(is_last_batch=False)
    guard.on_train_batch_end(trainer, None, {"loss": torch.tensor(float("nan"))}, None, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("predicted", "is_told"), [([10, 0, 0], True), ([5, 5, 0], False)])
def test_background_alone_is_told_in_each_epoch(
    predicted: list[int], is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    task = SegmenterTask.__new__(SegmenterTask)
    torch.nn.Module.__init__(task)
    task.labelled, task.predicted = torch.tensor([4, 3, 3]), torch.tensor(predicted)
    with caplog.at_level(logging.WARNING):
        PredictionGuard().on_train_epoch_end(SimpleNamespace(current_epoch=1), task)  # type: ignore[arg-type]
    says = "epoch 2: the segmenter predicts background alone, while 60 % of its masks are foreground"
    assert (says in caplog.text) == is_told


@pytest.mark.parametrize(
    ("predicted", "says"),
    [
        ([1, 9, 0], ["collapsed: 90 % of the val pixels are bird to it, as 30 % are in the masks", "sees no cow in"]),
        ([10, 0, 0], ["collapsed: 100 % of the val pixels are background", "sees no bird, cow in any val image"]),
        ([5, 5, 0], ["sees no cow in any val image"]),
        ([4, 3, 3], []),
    ],
)
def test_a_collapse_is_told_with_what_may_help(
    predicted: list[int], says: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_collapse(np.array(predicted), np.array([4, 3, 3]), ["background", "bird", "cow"])
    assert len(caplog.records) == len(says)
    for record, part in zip(caplog.records, says, strict=True):
        assert part in record.message
        assert "segmenter.loss.class_balance" in record.message


def test_a_training_that_ends_in_one_label_is_told(
    make_run: Callable[..., Run], own_masks: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(labels: int) -> Callable[..., list[np.ndarray]]:
        return lambda self, images: [np.full((image.height, image.width), labels, np.uint8) for image in images]

    monkeypatch.setattr(Segmenter, "label_maps", constant(2))
    with caplog.at_level(logging.WARNING):
        train(make_run, own_masks)
    assert "the segmenter has collapsed: 100 % of the val pixels are" in caplog.text


def test_the_epoch_best_on_val_is_kept_as_a_model_of_its_own(make_run: Callable[..., Run], own_masks: Path) -> None:
    run = train(make_run, own_masks, "segmenter.epochs=2")
    folder = run.folder / "segmenter"
    assert load_segmenter(folder / "best.pt").classes == load_segmenter(folder / "model.pt").classes
