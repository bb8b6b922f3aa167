"""The segmenter, trained on masks from elsewhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.conftest import SMALL
from wsss.data import read_mask, save_mask
from wsss.errors import InputError
from wsss.pipeline.export_masks import export_masks
from wsss.pipeline.run import Run
from wsss.pipeline.train_segmenter import mask_lesson, segmenter_step, train_segmenter, true_lesson
from wsss.pipeline.training import EpochLines
from wsss.tasks import MovingAverage


def test_a_segmenter_trains_on_given_masks_alone_and_says_so(
    make_run: Callable[..., Run], own_masks: Path, tmp_path: Path
) -> None:
    run = make_run(*SMALL, f"segmenter.masks={own_masks}")
    step = train_segmenter(run, mask_lesson(run))
    assert step.protocols["segmenter/val_miou"]["trained_on"] == str(own_masks)
    assert step.is_finished
    assert "segmenter/val_miou" in run.write_results()
    prediction = step.folder / "predictions" / f"{run.val_ids[0]}.png"
    before = prediction.read_bytes()
    prediction.unlink()
    export_masks(run, tmp_path / "out", what="predictions", formats=["png"])  # makes it again
    assert prediction.read_bytes() == before


def test_what_the_masks_show_is_part_of_the_step_and_where_they_lie_is_not(
    make_run: Callable[..., Run], own_masks: Path
) -> None:
    run = make_run(*SMALL, f"segmenter.masks={own_masks}")
    before = segmenter_step(run, mask_lesson(run)).fingerprint
    moved = own_masks.rename(own_masks.with_name("moved"))
    run = make_run(*SMALL, f"segmenter.masks={moved}")
    assert segmenter_step(run, mask_lesson(run)).fingerprint == before
    path = moved / f"{run.train_ids[0]}.png"
    save_mask(path, np.zeros_like(read_mask(path)))
    assert segmenter_step(run, mask_lesson(run)).fingerprint != before


def test_masks_from_elsewhere_do_not_concern_the_twin(make_run: Callable[..., Run], own_masks: Path) -> None:
    plain, given = (make_run(*SMALL, *masks_of) for masks_of in ((), (f"segmenter.masks={own_masks}",)))
    plain_step, given_step = (segmenter_step(run, true_lesson(run)) for run in (plain, given))
    assert plain_step.fingerprint == given_step.fingerprint
    assert "masks" not in plain_step.settings["segmenter"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"there is no such mask; `python scripts/import_masks\.py … --complete`"),
        ("size", "the mask is 20 × 30 pixels, its image 160 × 160"),
        ("value", "label value 77 is out of range"),
    ],
)
def test_faulty_masks_are_named_before_training(
    make_run: Callable[..., Run], own_masks: Path, fault: str, message: str
) -> None:
    run = make_run(*SMALL, f"segmenter.masks={own_masks}")
    path = own_masks / f"{run.train_ids[-1]}.png"
    if fault == "missing":
        path.unlink()
    else:
        save_mask(path, np.full((30, 20) if fault == "size" else (160, 160), 77, np.uint8))
    with pytest.raises(InputError, match=message) as caught:
        train_segmenter(run, mask_lesson(run))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (run.folder / "segmenter").exists()


def test_an_interrupted_training_goes_on_with_its_moving_average(
    make_run: Callable[..., Run], own_masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    ends: list[int] = []
    update, tell = MovingAverage._update, EpochLines.on_train_epoch_end

    def record(self: MovingAverage, averages: object, current: object, number: object) -> None:
        updates.append(int(number))  # type: ignore[call-overload]
        update(self, averages, current, number)  # type: ignore[arg-type]

    def interrupt(self: EpochLines, trainer: object, module: object) -> None:
        ends.append(1)
        if len(ends) == 2:
            raise RuntimeError("power cut")
        tell(self, trainer, module)  # type: ignore[arg-type]

    monkeypatch.setattr(MovingAverage, "_update", record)
    monkeypatch.setattr(EpochLines, "on_train_epoch_end", interrupt)
    run = make_run(*SMALL, f"segmenter.masks={own_masks}", "segmenter.ema_decay=0.9", "segmenter.epochs=2")
    with pytest.raises(RuntimeError, match="power cut"):
        train_segmenter(run, mask_lesson(run))
    before = max(updates)
    updates.clear()
    train_segmenter(run, mask_lesson(run))
    assert min(updates) == before - 1  # two steps an epoch; the interrupted one is done again
