"""True boxes from annotations and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data import boxes_in_mask, boxes_in_xml, describe, image_ids, read_labels
from wsss.errors import InputError

ROOT = Path(__file__).parents[2] / "data" / "mini_voc"


def annotation(*objects: tuple[str, object, object, object, object]) -> str:
    parts = [
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    ]
    return f"<annotation>{''.join(parts)}</annotation>"


def test_boxes_go_by_class_and_end_behind_their_last_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        annotation(("cow", 1, 1, 10, 5), ("cow", 3, 4, 3, 4), ("bird", 2.0, "3.4", 6, 7), ("dragon", 1, 1, 2, 2))
    )
    found = boxes_in_xml(path, ["bird", "cow"])
    assert {number: boxes.tolist() for number, boxes in found.items()} == {
        0: [[1, 2, 6, 7]],
        1: [[0, 0, 10, 5], [2, 3, 3, 4]],
    }


@pytest.mark.parametrize("broken", [("cow", "", 1, 2, 2), ("cow", 5, 1, 2, 2), ("cow", "nan", 1, 2, 2)])
def test_a_broken_box_names_file_and_object(tmp_path: Path, broken: tuple[str, object, object, object, object]) -> None:
    path = tmp_path / "a.xml"
    path.write_text(annotation(broken))
    with pytest.raises(InputError, match=r"a\.xml: object cow"):
        boxes_in_xml(path, ["cow"])
    path.write_text("<annotation>")
    with pytest.raises(InputError, match="not readable XML"):
        boxes_in_xml(path, ["cow"])


def test_an_imagenet_tree_is_read_by_its_synsets(tmp_path: Path) -> None:
    """Data/CLS-LOC/train/<synset>/<id>.JPEG and Annotations/CLS-LOC/train/<synset>/<id>.xml."""
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "train"
    annotations = tmp_path / "ILSVRC" / "Annotations" / "CLS-LOC" / "train"
    for synset, box in (("n01440764", (0, 0, 499, 374)), ("n02007558", (13, 25, 266, 199))):
        for folder in (images, annotations):
            (folder / synset).mkdir(parents=True)
        Image.new("RGB", (500, 375)).save(images / synset / f"{synset}_18.JPEG", "JPEG")
        (annotations / synset / f"{synset}_18.xml").write_text(annotation((synset, *box)))
    description = describe(images)
    assert description.classes == ("n01440764", "n02007558")
    first, second = image_ids(description)
    assert read_labels(description, second) == [1]
    whole = boxes_in_xml(annotations / f"{first}.xml", description.classes, first_pixel=0)
    assert {number: boxes.tolist() for number, boxes in whole.items()} == {0: [[0, 0, 500, 375]]}
    part = boxes_in_xml(annotations / f"{second}.xml", description.classes, first_pixel=0)
    assert part[1].tolist() == [[13, 25, 267, 200]]


def test_parts_of_a_mask_have_boxes_of_their_own() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[0:2, 0:3] = 2
    mask[2, 3] = 2  # by a corner: the same part
    mask[5, 7] = 2
    mask[3:5, 0:2] = 1
    mask[5, :3] = 255
    found = boxes_in_mask(mask)
    assert {number: boxes.tolist() for number, boxes in found.items()} == {
        0: [[0, 3, 2, 5]],
        1: [[0, 0, 4, 3], [7, 5, 8, 6]],
    }


def test_annotated_boxes_of_mini_voc_lie_around_their_masks() -> None:
    description = describe(ROOT)
    with Image.open(description.mask_path("mini_000001")) as image:
        mask = np.array(image)
    annotated = boxes_in_xml(description.annotation_path("mini_000001"), description.classes)
    of_mask = boxes_in_mask(mask)
    assert annotated.keys() == of_mask.keys()
    for number, boxes in annotated.items():
        outer = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
        assert outer == [*of_mask[number][:, :2].min(axis=0), *of_mask[number][:, 2:].max(axis=0)]
