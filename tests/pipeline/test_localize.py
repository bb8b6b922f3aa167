"""Localisation by a run's maps, on hand-made ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from joblib import Parallel, delayed
from PIL import Image

from tests.pipeline.shapes import BOX, CLASSES, judge_of, shapes_run
from wsss.errors import InputError
from wsss.pipeline import localize as module
from wsss.pipeline.box_crops import classify_crops
from wsss.pipeline.localize import fraction_of, localize
from wsss.pipeline.run import Run

Make = Callable[..., Run]


@pytest.fixture
def make_shapes(make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(module, "load_judge", lambda run, name: judge_of(run))
    return lambda *overrides, **options: shapes_run(make_run, tmp_path / "photos", *overrides, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_of_every_kind_are_the_counted_ones(make_shapes: Make, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_shapes()
    found = localize(run)
    assert set(found) == {"seed", "cam", "layer_cam", "grad_cam"}
    cam, layer_cam, grad_cam = found["cam"], found["layer_cam"], found["grad_cam"]
    assert (cam["fraction"], layer_cam["fraction"]) == (0.2, 0.15)
    assert cam["gt_known"] == 100
    assert layer_cam["gt_known"] == 0  # at 15 % the rim is in: IoU 0.3
    assert layer_cam["max_box_acc_0.3"] == layer_cam["max_box_acc_0.7"] == 100
    assert layer_cam["best_fraction"] == 0.19  # the first that leaves the rim out
    assert grad_cam["max_box_acc_0.3"] == grad_cam["max_box_acc_v2"] == 0
    assert cam["pxap"] == 100
    # Picture 0 is taken for a b: seen whole it is wrong, from its box it is right.
    assert cam["loc1"] == cam["top1"] == pytest.approx(100 * 5 / 6, abs=1e-3)
    assert cam["loc5"] == cam["top1_in_box"] == cam["map_in_box"] == 100
    assert cam["map"] == pytest.approx(100 * 5.5 / 6, abs=1e-3)
    folder = run.folder / "localization" / "train"
    written = json.loads((folder / "scores.json").read_text())
    assert written["kinds"]["cam"]["gt_known"] == 100
    assert written["protocol"]["boxes"] == "masks"
    assert (written["protocol"]["images"], written["protocol"]["pairs"]) == (6, 6)
    assert {row["kind"]: float(row["gt_known"]) for row in rows_of(folder / "scores.csv")}["cam"] == 100
    curves = {(row["kind"], float(row["fraction"])): row for row in rows_of(folder / "curves.csv")}
    assert float(curves["layer_cam", 0.18]["box_acc_0.5"]) == 0
    assert float(curves["layer_cam", 0.19]["box_acc_0.5"]) == 100
    boxes = next(row for row in rows_of(folder / "boxes.csv") if row["kind"] == "cam")
    assert [int(boxes[side]) for side in ("x0", "y0", "x1", "y1")] == BOX
    with Image.open(folder / "boxes.png") as sheet:
        assert sheet.width > 5 * 160
    assert "GT-known" in capsys.readouterr().out


def test_several_classes_of_an_image_count_each_where_it_has_a_box(make_shapes: Make) -> None:
    run = make_shapes("localization.kinds=[cam]", second="c")
    found = localize(run)
    assert set(found) == {"cam"}
    assert "loc1" not in found["cam"]  # images of several classes
    assert found["cam"]["gt_known"] == 100  # c is in picture 5's labels, not in its mask: left out
    protocol = json.loads((run.folder / "localization" / "train" / "scores.protocol.json").read_text())
    assert protocol["pairs"] == 6


def test_boxes_come_from_a_folder_of_imagenets_annotations(make_shapes: Make, tmp_path: Path) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    sides = zip(("xmin", "ymin", "xmax", "ymax"), (BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    for number in range(4):  # not of all
        objects = f"<object><name>{CLASSES[number]}</name><bndbox>{box}</bndbox></object>"
        (folder / f"{number}.xml").write_text(f"<annotation>{objects}</annotation>")
    run = make_shapes(f"localization.boxes={folder}", "localization.kinds=[cam]", "localization.fractions=5")
    assert localize(run)["cam"]["max_box_acc_0.7"] == 100
    protocol = json.loads((run.folder / "localization" / "train" / "scores.protocol.json").read_text())
    assert (protocol["images"], protocol["without_boxes"]) == (4, 2)


def test_val_images_get_maps_of_their_own_once(make_shapes: Make) -> None:
    run = make_shapes("localization.split=val")
    assert set(localize(run)) == {"seed", "cam", "layer_cam", "grad_cam"}
    drawn = sorted(path.name for path in (run.folder / "val_maps" / "maps" / "layer_cam").iterdir())
    assert drawn == ["6.npz", "7.npz"]
    before = (run.folder / "val_maps" / "manifest.json").stat().st_mtime_ns
    localize(run)
    assert (run.folder / "val_maps" / "manifest.json").stat().st_mtime_ns == before
    assert (run.folder / "localization" / "val" / "scores.csv").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("localization.kinds=[score_cam]", "no maps of kind score_cam; it has seed, cam"),
        ("localization.boxes=xml", "localization.boxes=xml: no such file as .*xml"),
        ("localization.boxes=nowhere", "localization.boxes=nowhere: expected auto, xml, masks"),
        ("cam.scales=[0.5]", "no seeds made with these options"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    make_shapes: Make, make_run: Make, tmp_path: Path, override: str, message: str
) -> None:
    run = make_shapes(*([] if override.startswith("cam") else [override]))
    run.config.cam.scales = [0.5] if override.startswith("cam") else run.config.cam.scales
    with pytest.raises(InputError, match=message) as caught:
        localize(run)
    assert "\n" not in str(caught.value)


def test_a_network_that_the_run_has_not_is_named(make_run: Make, tmp_path: Path) -> None:
    run = shapes_run(make_run, tmp_path / "photos", "localization.network=recam")
    with pytest.raises(InputError, match=r"recam/model\.pt: no such network"):
        localize(run)


@pytest.mark.parametrize(
    ("seed", "kind", "fraction"),
    [
        ("[layer_cam]", "seed", 0.15),
        ("[layer_cam,cam]", "seed", 0.2),
        ("[cam]", "seed", 0.2),
        ("[cam]", "layer_cam_stage5", 0.15),
        ("[layer_cam]", "cam", 0.2),
    ],
)
def test_boxes_are_cut_at_the_fraction_of_the_maps_they_are_of(
    make_shapes: Make, seed: str, kind: str, fraction: float
) -> None:
    run = make_shapes(f"cam.seed={seed}")
    assert fraction_of(run, kind) == fraction


def top_scores(run: Run) -> list[float]:
    """Of the left half of the first picture, and of all whole ones."""
    half = (run.train_ids[0], (0, 0, 12, 24))
    found = classify_crops(run, judge_of(run), [half, *((i, None) for i in run.train_ids)])
    return [float(scores.max()) for scores in found.values()]


def test_crops_are_loaded_by_other_processes_within_those_of_joblib(make_shapes: Make) -> None:
    run = make_shapes()
    expected = top_scores(run)
    run.config.trainer.num_workers = 1
    assert Parallel(n_jobs=2)(delayed(top_scores)(run) for _ in range(2)) == [expected, expected]
