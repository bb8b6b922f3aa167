"""Rounds of self-training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipeline.conftest import SMALL
from wsss.data import read_mask
from wsss.pipeline import train_segmenter
from wsss.pipeline.run import Run
from wsss.pipeline.self_training import train_segmenters
from wsss.pipeline.train_segmenter import predict_val

ROUNDS = ("segmenter.self_training.rounds=2", "segmenter.self_training.scales=[1.0]")


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])  # the latter gives no results one by one
def test_each_round_labels_the_train_images_within_their_classes_and_is_scored(
    make_run: Callable[..., Run], own_masks: Path, backend: str
) -> None:
    own = f"segmenter.masks={own_masks}"
    run = make_run(*SMALL, *ROUNDS, own, "segmenter.self_training.min_change=0", f"masks.backend={backend}")
    train_segmenters(run)
    results = run.write_results()
    for number in (1, 2):
        assert 0 <= results[f"relabel/round{number}_change"] <= 1
        assert {f"relabel/round{number}_miou", f"segmenter/round{number}_val_miou"} <= set(results)
        for image_id, row in zip(run.train_ids, run.train_labels, strict=True):
            found = set(np.unique(read_mask(run.folder / f"relabel_round{number}" / f"{image_id}.png")).tolist())
            assert found <= {0, *(row.nonzero().flatten() + 1).tolist()}
    protocols = run.folder / "protocols.json"
    assert "own masks of round 2, at first " in protocols.read_text()


def test_a_round_that_makes_things_worse_is_told(
    make_run: Callable[..., Run], own_masks: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*SMALL, *ROUNDS, f"segmenter.masks={own_masks}", "segmenter.self_training.min_change=0")
    scores = iter([50.0, 40.0, 45.0])

    def scored(*arguments: Any) -> float:
        predict_val(*arguments)
        return next(scores)

    monkeypatch.setattr(train_segmenter, "predict_val", scored)
    train_segmenters(run)
    assert "round 1 took val mIoU from 50.0 to 40.0" in caplog.text
    assert "round 2 took" not in caplog.text


def test_rounds_end_when_the_masks_have_settled(
    make_run: Callable[..., Run], own_masks: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(*SMALL, *ROUNDS, f"segmenter.masks={own_masks}", "segmenter.self_training.min_change=1")
    with caplog.at_level("INFO"):
        train_segmenters(run)
    assert "the masks have settled" in caplog.text
    assert not (run.folder / "segmenter_round1").exists()


def test_more_rounds_later_keep_those_there_are(make_run: Callable[..., Run], own_masks: Path) -> None:
    options = (*SMALL, f"segmenter.masks={own_masks}", "segmenter.self_training.scales=[1.0]")
    train_segmenters(make_run(*options))
    first = make_run(*options).folder / "segmenter" / "model.pt"
    before = first.stat().st_mtime_ns
    run = make_run(*options, "segmenter.self_training.rounds=1", "segmenter.self_training.min_change=0")
    train_segmenters(run)
    assert first.stat().st_mtime_ns == before
    assert (run.folder / "segmenter_round1" / "model.pt").exists()
