"""Photographs in, label maps, overlays and tables out."""

from __future__ import annotations

import csv
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.segmenters import CLASSES, PROTOCOL
from wsss.data import palette, read_mask
from wsss.errors import InputError
from wsss.masks import CRFParams, dense_crf
from wsss.models import Segmenter
from wsss.pipeline import predict as module
from wsss.pipeline import predictions
from wsss.pipeline.config import InferenceConfig, TrainerConfig
from wsss.pipeline.config.scripts import PredictConfig
from wsss.pipeline.predict import find_photographs, predict_images
from wsss.pipeline.predictions import predict, with_inference

LOAD = cache(module.load_segmenter)


@pytest.fixture(scope="module")
def segmenter(checkpoint: Path) -> Segmenter:
    return LOAD(str(checkpoint), device="cpu")


@pytest.fixture(autouse=True)
def _loads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_segmenter", LOAD)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs, one in a folder of its own, one lying on its side; and a text file."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    draw(0).save(folder / "a.jpg")
    draw(1).save(folder / "trip" / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(2).save(folder / "turned.jpg", exif=exif)
    (folder / "notes.txt").write_text("no photograph")
    return folder


def draw(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


def config(images: Path | str, checkpoint: Path, out: Path, **options: Any) -> PredictConfig:
    trainer = TrainerConfig(accelerator="cpu", precision="32-true")
    return PredictConfig(
        **{"images": str(images), "checkpoint": str(checkpoint), "out": str(out), "trainer": trainer} | options
    )


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "areas.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_folder_keeps_its_folders_and_every_photograph_its_size(
    photos: Path, checkpoint: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = predict_images(config(photos, checkpoint, out, batch_size=2))
    assert [photo.name for photo in done.photographs] == ["a", "trip/b", "turned"]
    assert done.faults == []
    for photo in done.photographs:
        labels = read_mask(out / "labels" / f"{photo.name}.png")
        assert (labels == segmenter(photo.path)).mean() > 0.999
        with Image.open(out / "overlays" / f"{photo.name}.jpg") as overlay:
            assert overlay.width == labels.shape[1]
            assert overlay.height > labels.shape[0]  # the names of the colours below
    assert read_mask(out / "labels" / "turned.png").shape == (60, 40)
    with Image.open(out / "labels" / "a.png") as mask:
        assert mask.getpalette()[:6] == palette()[:2].ravel().tolist()


def test_areas_are_pixels_and_shares_of_each_label(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    predict_images(config(photos, checkpoint, tmp_path / "out"))
    rows = [row for row in rows_of(tmp_path / "out") if row["image"] == "trip/b"]
    labels = read_mask(tmp_path / "out" / "labels" / "trip" / "b.png")
    assert {int(row["label"]): int(row["pixels"]) for row in rows} == {
        int(label): int(number) for label, number in zip(*np.unique(labels, return_counts=True), strict=True)
    }
    assert {row["class"] for row in rows} <= {"background", *CLASSES}
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-5)


def test_what_was_predicted_how_is_listed(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    predict_images(config(photos, checkpoint, tmp_path / "out", inference=InferenceConfig(flip=True)))
    listed = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert listed["photographs"][1] == {"image": "trip/b.png", "labels": "labels/trip/b.png"}
    assert listed["labels"] == ["background", *CLASSES]
    assert listed["protocol"] == PROTOCOL
    assert listed["settings"]["inference.flip"] is True
    assert listed["unreadable"] == []


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_coco_instances_name_the_files(photos: Path, checkpoint: Path, tmp_path: Path, segmentation: str) -> None:
    if segmentation == "rle":
        pytest.importorskip("pycocotools")
    draw(3).save(photos / "a.png")  # as a.jpg is called, but for the suffix
    predict_images(config(photos, checkpoint, tmp_path / "out", coco=segmentation))
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.jpg", "a.png", "trip/b.png", "turned.jpg"]
    foreground = sum(int(row["pixels"]) for row in rows_of(tmp_path / "out") if row["label"] != "0")
    assert sum(annotation["area"] for annotation in content["annotations"]) == foreground
    assert (tmp_path / "out" / "labels" / "a.png.png").exists()


def test_unreadable_photographs_are_named_and_the_rest_goes_on(
    photos: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos / "broken.jpg").write_bytes(b"no picture")
    (photos / "cut.jpg").write_bytes((photos / "a.jpg").read_bytes()[:400])  # its header is whole
    done = predict_images(config(photos, checkpoint, tmp_path / "out", batch_size=4))
    assert [photo.name for photo in done.photographs] == ["a", "trip/b", "turned"]
    assert len(done.faults) == 2
    for name, line in zip(("broken.jpg", "cut.jpg"), sorted(done.faults), strict=True):
        assert name in line
        assert "\n" not in line
        assert f"left out: {line}" in caplog.messages
    assert {row["image"] for row in rows_of(tmp_path / "out")} == {"a", "trip/b", "turned"}


def test_a_second_call_predicts_only_what_is_missing_or_has_changed(
    photos: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    predict_images(config(photos, checkpoint, out))
    seen: list[tuple[int, int]] = []
    real = module.predict_batch

    def watched(segmenter: Segmenter, images: list[Image.Image], options: InferenceConfig) -> list[np.ndarray]:
        seen.extend(image.size for image in images)
        return real(segmenter, images, options)

    monkeypatch.setattr(module, "predict_batch", watched)
    before = (out / "areas.csv").read_bytes()
    predict_images(config(photos, checkpoint, out))
    assert seen == []
    assert (out / "areas.csv").read_bytes() == before
    (out / "overlays" / "turned.jpg").unlink()
    later = (out / "labels" / "a.png").stat().st_mtime + 10
    os.utime(photos / "a.jpg", (later, later))
    predict_images(config(photos, checkpoint, out))
    assert seen == [(60, 40), (40, 60)]
    os.utime(photos / "a.jpg", (later - 1000, later - 1000))  # replaced by an older one
    predict_images(config(photos, checkpoint, out))
    assert seen[2:] == [(60, 40)]
    predict_images(config(photos, checkpoint, out, overwrite=True))
    assert len(seen) == 6


def test_photographs_of_one_folder_are_listed_together_call_by_call(
    photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for name in ("a.jpg", "turned.jpg", "a.jpg"):
        predict_images(config(photos / name, checkpoint, out))
    assert {row["image"] for row in rows_of(out)} == {"a", "turned"}
    (photos / "a.jpg").unlink()
    predict_images(config(photos / "turned.jpg", checkpoint, out))
    listing = json.loads((out / "predictions.json").read_text())
    assert [file["image"] for file in listing["photographs"]] == ["turned.jpg"]


def test_folders_may_be_called_like_globs_and_photographs(photos: Path, tmp_path: Path) -> None:
    folder = photos.rename(tmp_path / "x[1]")
    (folder / "dir.jpg").mkdir()
    assert [photo.name for photo in find_photographs(str(folder), tmp_path)[1]] == ["a", "trip/b", "turned"]


def test_predictions_made_otherwise_are_not_mixed(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_images(config(photos, checkpoint, out))
    other = config(photos / "trip", checkpoint, out, inference=InferenceConfig(flip=True))
    with pytest.raises(InputError, match=r"holds predictions made otherwise \(.* → .*\); pass overwrite=true"):
        predict_images(other)
    other.overwrite = True
    predict_images(other)
    assert [path.name for path in (out / "labels").rglob("*.png")] == ["b.png"]


def test_inputs_and_foreign_files_are_never_overwritten(photos: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "work" / "labels").mkdir(parents=True)
    draw(5).save(tmp_path / "work" / "labels" / "x.png")
    before = (tmp_path / "work" / "labels" / "x.png").read_bytes()
    for images in (tmp_path / "work" / "labels", tmp_path / "work" / "labels" / "x.png", photos):
        with pytest.raises(InputError, match=r"images=.*no photograph there|not made by this script"):
            predict_images(config(images, checkpoint, tmp_path / "work"))
    assert (tmp_path / "work" / "labels" / "x.png").read_bytes() == before


def test_outputs_inside_the_folder_are_no_photographs(photos: Path, checkpoint: Path) -> None:
    for _ in range(2):
        done = predict_images(config(photos, checkpoint, photos))
        assert [photo.name for photo in done.photographs] == ["a", "trip/b", "turned"]


def test_globs_and_single_files_are_found(photos: Path, tmp_path: Path) -> None:
    draw(0).save(photos / ".hidden.jpg")
    draw(0).save(photos / "UPPER.JPG")
    found = {
        str(photos): ["UPPER", "a", "trip/b", "turned"],
        f"{photos}/*.jpg": ["a", "turned"],
        f"{photos}/**/*": ["UPPER", "a", "trip/b", "turned"],
        f"{photos}/t*/*.png": ["trip/b"],
        f"{photos}/a.jpg": ["a"],
    }
    for images, names in found.items():
        root, photographs = find_photographs(images, tmp_path / "out")
        assert [photo.name for photo in photographs] == names
        assert root == photos


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": "nowhere.jpg"}, r"images=nowhere\.jpg: no such photograph or folder"),
        ({"images": "nowhere/*.jpg"}, "no such photograph or folder"),
        ({"images": "tests/*.jpg"}, "no photograph there"),
        ({"checkpoint": "nowhere.pt"}, r"nowhere\.pt: no such model"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"coco": "boxes"}, "coco=boxes: expected one of rle, polygons"),
        ({"inference": InferenceConfig(window=3)}, r"inference\.window=3: expected at least 32 pixels"),
        ({"inference": InferenceConfig(scales=[])}, r"inference\.scales=\[\]: expected one or more numbers above 0"),
        ({"inference": InferenceConfig(crf=CRFParams(bilateral_sxy=0))}, r"inference\.crf\.bilateral_sxy=0"),
        ({"inference": InferenceConfig(crf=CRFParams(backend="cpp"))}, r"crf\.backend=cpp"),
        ({"trainer": TrainerConfig(precision="8")}, r"trainer\.precision=8"),
        ({"out": __file__}, r"out=.*test_predict\.py: not a folder of predictions"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(
    photos: Path, checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        predict_images(config(**{"images": photos, "checkpoint": checkpoint, "out": tmp_path / "out"} | options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_told_with_the_remedy(
    photos: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "predict_batch", fail)
    with pytest.raises(InputError, match=r"out of memory for one photograph of 60 × 40 pixels; pass inference\.window"):
        predict_images(config(photos, checkpoint, tmp_path / "out"))


def test_a_crf_of_all_labels_is_the_one_of_those_that_can_win(segmenter: Segmenter) -> None:
    params = CRFParams(iterations=5, bilateral_srgb=20)
    options = InferenceConfig(crf=params)
    image = draw(0, (75, 50))
    expected = dense_crf(np.array(image), segmenter.probabilities(image), params=params)
    assert np.array_equal(predict(with_inference(segmenter, options), image, options), expected)


def test_large_photographs_get_their_crf_at_a_smaller_size(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, image = InferenceConfig(crf=CRFParams(iterations=5, bilateral_srgb=20)), draw(0, (160, 120))
    sizes: list[tuple[int, ...]] = []
    real = predictions.crf_marginals

    def watched(image: np.ndarray, unary: np.ndarray, params: CRFParams) -> np.ndarray:
        sizes.append(image.shape[:2])
        return real(image, unary, params)

    monkeypatch.setattr(predictions, "crf_marginals", watched)
    whole = predict(segmenter, image, options)
    monkeypatch.setattr(predictions, "CRF_PIXELS", 80 * 60)
    half = predict(segmenter, image, options)
    assert sizes == [(120, 160), (60, 80)]
    assert half.shape == whole.shape == (120, 160)
    assert (half == whole).mean() > 0.8
