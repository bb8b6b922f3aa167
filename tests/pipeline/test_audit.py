"""The audit of masks, on a folder of hand-made ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss.data import VOID, save_mask
from wsss.errors import InputError
from wsss.pipeline.audit import ImageAudit, area_outliers, audit_image, audit_masks
from wsss.pipeline.run import Run
from wsss.seeds import save_seeds

CLASSES = ["bird", "cow"]


@pytest.fixture
def audited_run(make_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """Runs on six images of 20 × 20 with a bird in the left half, and a cow in the lower right of the last one.

    The masks are true, but: image 1's is empty, image 2's is bird all over, image 5's takes the cow for a bird.
    """

    def make(*overrides: str, truth: bool = True) -> Run:
        root = tmp_path / "photos"
        (root / "images").mkdir(parents=True)
        rows = ["image,labels"]
        for number in range(7):
            Image.new("RGB", (20, 20), (number * 30, 90, 120)).save(root / "images" / f"{number}.jpg")
            rows.append(f"{number}.jpg,{'bird;cow' if number == 5 else 'bird'}")
            if truth:
                (root / "masks").mkdir(exist_ok=True)
                save_mask(root / "masks" / f"{number}.png", true_mask(number))
        (root / "labels.csv").write_text("\n".join(rows))
        (root / "train.txt").write_text("\n".join(map(str, range(6))))
        (root / "val.txt").write_text("6")
        data = ["data=folder", f"data.root={root}", "data.classes=[bird,cow]", "limit_images=null"]
        run = make_run(*data, *overrides)
        seeds = run.step("seeds", {}, [])
        with seeds.working():
            for number in range(6):
                classes = [0, 1] if number == 5 else [0]
                maps = np.stack([true_mask(number) == c + 1 for c in classes]).astype(np.float32)
                save_seeds(seeds.folder / f"{number}.npz", maps, classes, (20, 20))
        masks = run.step("masks", {}, ["seeds"])
        with masks.working():
            for number in range(6):
                mask = true_mask(number)
                mask[:] = {1: 0 * mask, 2: 0 * mask + 1, 5: np.minimum(mask, 1)}.get(number, mask)
                save_mask(masks.folder / f"{number}.png", mask)
        return run

    return make


def true_mask(number: int) -> np.ndarray:
    mask = np.zeros((20, 20), np.uint8)
    mask[:, :10] = 1
    if number == 5:
        mask[10:, 10:] = 2
    return mask


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {next(iter(row.values())): row for row in rows}


def test_figures_are_the_counted_ones(audited_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    run = audited_run()
    audit = audit_masks(run)
    known = 6 * 400
    assert audit.summary["confused"] == pytest.approx(100 / known, abs=1e-4)
    assert audit.summary["missed"] == pytest.approx(200 / known, abs=1e-4)
    assert audit.summary["spilled"] == pytest.approx(200 / known, abs=1e-4)
    assert audit.summary["erased"] == 2
    assert audit.summary["weakest_class"] == "cow"
    classes = table(run.folder / "audit" / "classes.csv")
    assert float(classes["cow"]["iou"]) == 0
    assert float(classes["cow"]["under"]) == 100
    assert (classes["bird"]["images"], classes["bird"]["erased"]) == ("6", "1")
    assert float(classes["bird"]["over"]) == pytest.approx(100 * 300 / 1200)
    assert float(classes["bird"]["precision"]) == pytest.approx(100 * 1000 / 1300, abs=0.01)
    assert float(classes["bird"]["recall"]) == pytest.approx(100 * 1000 / 1200, abs=0.01)
    images = table(run.folder / "audit" / "images.csv")
    assert images["1"]["reasons"].startswith("no bird in the mask")
    assert (images["0"]["miou"], images["0"]["erased"]) == ("100.0", "")
    assert {*audit.worst[:2]} == {"1", "2"}
    assert audit.worst[2] == "5"
    written = json.loads((run.folder / "audit" / "audit.json").read_text())
    assert written["worst"] == audit.worst
    assert written["protocol"]["images"] == 6
    page = (run.folder / "audit" / "index.html").read_text(encoding="utf-8")
    assert "no bird in the mask" in page
    assert "look at these first" in capsys.readouterr().out


def test_without_truth_odd_masks_come_first(audited_run: Callable[..., Run]) -> None:
    audit = audit_masks(audited_run(truth=False))
    assert "miou" not in audit.summary
    assert {*audit.worst[:2]} == {"1", "5"}
    assert audit.summary["weakest_class"] == "cow"
    by_id = {row["image"]: row for row in audit.images}
    assert by_id["2"]["seed_mask"] == 0.5
    assert by_id["0"]["seed_mask"] == 1
    assert by_id["2"]["miou"] is None


@dataclass
class TwoMasks:
    """A mask maker whose seeds are bird in the left half and whose CRF sees bird in the left quarter."""

    kind: str = "crf"
    data: Any = field(default_factory=lambda: SimpleNamespace(num_classes=2))

    def __call__(self, image_ids: list[str], thresholds: list[float]) -> list[list[np.ndarray]]:
        mask = np.zeros((20, 20), np.uint8)
        mask[:, : 5 if self.kind == "crf" else 10] = 1
        return [[mask]]


def test_seeds_mask_and_crf_are_compared_in_pairs(tmp_path: Path) -> None:
    maker: Any = TwoMasks()
    save_mask(tmp_path / "0.png", np.ones((20, 20), np.uint8))
    audited = audit_image(maker, "0", [0, 1], 0.3, tmp_path, has_truth=False)
    assert (audited.seed_mask, audited.seed_crf, audited.crf_mask) == (0.5, 0.75, 0.25)
    assert (audited.areas, audited.erased) == ([1.0, 0.0], [1])


def test_a_class_much_larger_than_elsewhere_is_an_outlier() -> None:
    areas = [0.1, 0.11, 0.09, 0.105, 0.9, 0.0]
    audited = [ImageAudit(str(i), [1], [area], 1.0, 1.0, 1.0, 1.0, None) for i, area in enumerate(areas)]
    assert area_outliers(audited) == {"4": {1: 0.9}}  # the empty mask is erased, not small


def test_a_missing_mask_is_named(audited_run: Callable[..., Run]) -> None:
    run = audited_run()
    (run.folder / "masks" / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: there is no such mask; `python scripts/make_masks.py`"):
        audit_masks(run)


def test_a_class_whose_images_are_not_scored_is_not_the_weakest(
    audited_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = audited_run()
    run.score_ids = ["0", "1", "2", "3", "4"]  # the cow's image is left out
    assert audit_masks(run).summary["weakest_class"] == "bird"


def test_masks_that_say_nothing_are_odd_and_no_crash(audited_run: Callable[..., Run]) -> None:
    run = audited_run()
    save_mask(run.folder / "masks" / "0.png", np.full((20, 20), VOID, np.uint8))
    save_mask(run.data.mask_path("3"), np.full((20, 20), VOID, np.uint8))
    audit = audit_masks(run)
    by_id = {row["image"]: row for row in audit.images}
    assert (by_id["0"]["coverage"], by_id["0"]["seed_mask"]) == (0, 0)
    assert by_id["3"]["miou"] is None
    assert "3" not in audit.worst[:3]


def test_a_mask_of_another_size_is_named(audited_run: Callable[..., Run]) -> None:
    run = audited_run()
    save_mask(run.folder / "masks" / "0.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"0\.png"):
        audit_masks(run)


def test_masks_from_elsewhere_are_audited_where_they_lie(audited_run: Callable[..., Run], tmp_path: Path) -> None:
    run = audited_run()
    for number in range(6):
        save_mask(tmp_path / "corrected" / f"{number}.png", true_mask(number))
    run.config.segmenter.masks = str(tmp_path / "corrected")
    assert audit_masks(run).summary["miou"] == 100


def test_names_are_shown_as_they_are(audited_run: Callable[..., Run], capsys: pytest.CaptureFixture[str]) -> None:
    audit_masks(audited_run("run='a [b] run'"))
    assert "[b]" in capsys.readouterr().out
