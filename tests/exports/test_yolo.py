"""YOLO's text files."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.exports.conftest import CLASSES, EXAMPLES, make_maps
from wsss.exports import regions, write_yolo


def test_a_line_is_a_zero_based_class_and_the_corners_as_shares(tmp_path: Path) -> None:
    labels = np.zeros((4, 8), np.uint8)
    labels[1:3, 2:4] = 3
    write_yolo(make_maps(tmp_path, {"a": labels}), tmp_path / "yolo")
    corners = "0.250000 0.250000 0.500000 0.250000 0.500000 0.750000 0.250000 0.750000"
    assert (tmp_path / "yolo/labels/a.txt").read_text() == f"2 {corners}\n"


def test_the_polygons_are_the_outlines_once_more_and_void_is_counted(tmp_path: Path) -> None:
    maps = make_maps(tmp_path)
    assert write_yolo(maps, tmp_path / "yolo") == 2
    for image_id, labels in EXAMPLES.items():
        lines = (tmp_path / "yolo" / "labels" / f"{image_id}.txt").read_text().splitlines()
        expected = [part for part in regions(labels) if part.label != 255]
        assert len(lines) == len(expected)
        for line, part in zip(lines, expected, strict=True):
            label, *numbers = line.split()
            assert int(label) == part.label - 1
            corners = np.array(numbers, float).reshape(-1, 2) * labels.shape[::-1]
            np.testing.assert_allclose(corners, part.outline(), atol=1e-5)


@pytest.mark.parametrize("image_id", EXAMPLES)
def test_trainers_find_names_list_and_photographs(tmp_path: Path, image_id: str) -> None:
    maps = make_maps(tmp_path)
    write_yolo(maps, tmp_path / "yolo")
    described = yaml.safe_load((tmp_path / "yolo/data.yaml").read_text(encoding="utf-8"))
    assert described == {"train": "images.txt", "val": "images.txt", "names": dict(enumerate(CLASSES))}
    listed = (tmp_path / "yolo/images.txt").read_text(encoding="utf-8").splitlines()
    assert f"./images/{image_id}.jpg" in listed
    photograph = tmp_path / "yolo" / "images" / f"{image_id}.jpg"
    assert photograph.read_bytes() == maps.data.image_path(image_id).read_bytes()
