"""Faithfulness of a run's maps, on hand-made ones and a network that knows colours."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from tests.pipeline.shapes import judge_of, shapes_run
from wsss.errors import InputError
from wsss.pipeline import drawing
from wsss.pipeline import faithfulness as module
from wsss.pipeline.faithfulness import FIGURES, faithfulness, stage_gradients
from wsss.pipeline.networks import new_classifier
from wsss.pipeline.run import Run

Make = Callable[..., Run]


@pytest.fixture
def run(make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(module, "load_judge", lambda run, name: judge_of(run))
    options = ["faithfulness.kinds=[cam,grad_cam]", "faithfulness.steps=6", "faithfulness.percentiles=[20.0,40.0]"]
    return shapes_run(make_run, tmp_path / "photos", *options, "faithfulness.batch_size=4")


def test_the_map_of_what_the_network_sees_beats_its_opposite(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = faithfulness(run)
    good, bad = found["cam"], found["grad_cam"]
    # Picture 0 is taken for another class, so five count; black pixels are no class's, and leave the first to win.
    assert (good["occlusion"], bad["occlusion"]) == (100, 0)
    assert good["average_drop"] == 0
    assert bad["average_drop"] > 50
    assert good["deletion"] < bad["deletion"]
    assert good["insertion"] > bad["insertion"]
    assert good["road"] > 0 > bad["road"]
    folder = run.folder / "faithfulness" / "train"
    written = json.loads((folder / "scores.json").read_text())
    assert written["kinds"] == found
    assert (written["protocol"]["images"], written["protocol"]["pairs"]) == (6, 6)
    with (folder / "road.csv").open(newline="") as file:
        curves = list(csv.DictReader(file))
    assert [(row["kind"], float(row["percent"])) for row in curves[:2]] == [("cam", 20), ("cam", 40)]
    assert float(curves[0]["most_relevant"]) < float(curves[0]["least_relevant"])
    with (folder / "gradient_variance.csv").open(newline="") as file:
        spread = {row["stage"]: float(row["median"]) for row in csv.DictReader(file)}
    assert list(spread) == [f"stage{i}" for i in range(1, 6)]
    assert spread["stage5"] == pytest.approx(0, abs=1e-9)  # what is pooled has one gradient in all cells
    assert spread["stage1"] > spread["stage4"] > 0
    assert (folder / "gradient_variance.png").exists()
    assert "ROAD" in capsys.readouterr().out


def test_the_same_figures_come_again(run: Run) -> None:
    run.config.faithfulness.limit_images = 2
    first = faithfulness(run)
    assert faithfulness(run) == first
    assert json.loads((run.folder / "faithfulness" / "train" / "scores.json").read_text())["protocol"]["images"] == 2


def test_gradients_are_of_each_images_own_classes(run: Run) -> None:
    network = new_classifier(run.config, 6).eval().requires_grad_(False)
    images = torch.rand(3, 3, 32, 32)
    first, second = stage_gradients(network, images, [[2], [], [0, 5]])
    assert len(first["stage1"]) == 2
    assert len(second["stage1"]) == 1
    cells = first["stage5"].shape[2] * first["stage5"].shape[3]
    assert torch.allclose(second["stage5"][0, :, 0, 0], network.fc1_weight[5] / cells)
    assert torch.allclose(first["stage5"][1, :, 0, 0], network.fc1_weight[0] / cells)


def test_images_without_a_class_are_passed_over(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = {"0", "1"}

    def labels_of(of_run: Run, ids: Iterable[str]) -> dict[str, torch.Tensor]:
        return {i: row * (i not in blank) for i, row in drawing.labels_of(of_run, ids).items()}

    monkeypatch.setattr(module, "labels_of", labels_of)
    run.config.faithfulness.limit_images = 1
    faithfulness(run)
    written = json.loads((run.folder / "faithfulness" / "train" / "scores.json").read_text())
    assert (written["protocol"]["images"], written["protocol"]["pairs"]) == (1, 1)
    blank |= {*run.train_ids}
    with pytest.raises(InputError, match="photos: no image of train has a class"):
        faithfulness(run)


def test_occlusion_counts_those_that_were_right() -> None:
    right, occluded = torch.tensor([True, True, True, True, False]), torch.tensor([True, False, False, False, False])
    others = dict.fromkeys(FIGURES, torch.zeros(5))
    found = module._figures({**others, "right": right, "right_occluded": occluded})
    assert found["occlusion"] == 75  # of four; of all five it would be 80


def test_insertion_begins_with_the_blurred_image(run: Run) -> None:
    def brightness(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(1, 2, 3))[:, None].expand(-1, 6)

    images, maps, generator = torch.full((1, 3, 24, 24), 0.8), torch.rand(1, 24, 24), torch.Generator()
    found = module.measure(run, brightness, images, maps, torch.tensor([0]), False, generator)
    assert found["insertion"].item() == pytest.approx(0.8)  # what is of one colour stays as it is, blurred
    assert found["deletion"].item() == pytest.approx(0.4)  # black in the end
