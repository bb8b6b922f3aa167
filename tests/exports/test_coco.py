"""COCO instances: what pycocotools reads is what was written, and corrected files come back."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.exports.conftest import CLASSES, EXAMPLES, RING, label_maps, make_maps
from wsss.data import VOID
from wsss.errors import InputError
from wsss.exports import LabelMaps, read_coco, write_coco

coco = pytest.importorskip("pycocotools.coco")


def write(maps: LabelMaps, **options: Any) -> dict[str, Any]:
    folder = maps.folder.parent / "coco"
    write_coco(maps, folder, **options)
    return json.loads((folder / "annotations.json").read_text(encoding="utf-8"))


def read(maps: LabelMaps, content: object) -> dict[str, NDArray[np.uint8]]:
    path = maps.folder.parent / "corrected.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return dict(read_coco(path, maps.data, maps.ids))


def drawn_by_pycocotools(path: Path) -> dict[str, NDArray[np.uint8]]:
    api = coco.COCO(str(path))
    maps = {}
    for image in api.imgs.values():
        labels = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in api.imgToAnns[image["id"]]:
            mask = api.annToMask(annotation).astype(bool)
            assert mask.sum() == annotation["area"]
            x, y, width, height = annotation["bbox"]
            rows, columns = np.nonzero(mask)
            assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, width, height)
            labels[mask] = annotation["category_id"]
        maps[image["file_name"]] = labels
    return maps


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
@given(labels=label_maps, void=st.booleans())
def test_pycocotools_and_the_import_read_the_same_labels_back(
    labels: np.ndarray, void: bool, segmentation: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maps = make_maps(Path(folder), {"a": labels})
        left_out = write_coco(maps, Path(folder), segmentation=segmentation, void=void)
        expected = labels if void else np.where(labels == VOID, 0, labels)
        assert left_out == (labels != expected).sum()
        path = Path(folder) / "annotations.json"
        np.testing.assert_array_equal(drawn_by_pycocotools(path)["a.jpg"], expected)
        np.testing.assert_array_equal(dict(read_coco(path, maps.data, maps.ids))["a"], expected)


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_ids_of_any_kind_come_back_with_their_labels(tmp_path: Path, segmentation: str) -> None:
    maps = make_maps(tmp_path)
    content = write(maps, segmentation=segmentation, void=True)
    assert [image["file_name"] for image in content["images"]] == [f"{image_id}.jpg" for image_id in EXAMPLES]
    back = read(maps, content)
    assert list(back) == list(EXAMPLES)
    for image_id, labels in EXAMPLES.items():
        np.testing.assert_array_equal(back[image_id], labels)


def test_the_file_has_the_parts_of_coco_instances(tmp_path: Path) -> None:
    content = write(make_maps(tmp_path, {"plain": RING}))
    assert set(content) == {"info", "licenses", "images", "categories", "annotations"}
    assert content["images"] == [{"id": 1, "file_name": "plain.jpg", "width": 5, "height": 5}]
    assert [(entry["id"], entry["name"]) for entry in content["categories"]] == list(enumerate(CLASSES, start=1))
    ring = content["annotations"][0]
    assert ring.pop("segmentation").keys() == {"size", "counts"}
    assert ring == {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 0, 3, 3], "area": 8, "iscrowd": 0}
    assert [entry["category_id"] for entry in content["annotations"]] == [1, 2, 3]


@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_void_is_a_crowd_with_a_category_of_its_own_when_asked_for(tmp_path: Path, segmentation: str) -> None:
    content = write(make_maps(tmp_path), segmentation=segmentation, void=True)
    assert content["categories"][-1] == {"id": 255, "name": "void", "supercategory": ""}
    void = [entry for entry in content["annotations"] if entry["iscrowd"]]
    assert [(entry["category_id"], entry["area"]) for entry in void] == [(255, 2)]
    assert "counts" in void[0]["segmentation"]


def test_a_class_that_is_called_void_is_not_mixed_with_it(tmp_path: Path) -> None:
    maps = make_maps(tmp_path)
    object.__setattr__(maps.data, "classes", ("cat", "void", "dog"))
    with pytest.raises(InputError, match="a class is called void"):
        write_coco(maps, tmp_path, void=True)


def annotated(*annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    """A file of one 5 × 5 image with categories in another tool's order."""
    names = ("void", "Ente: gelb", "cat", "background", "dragon")
    return {
        "images": [{"id": 7, "file_name": "plain.jpg", "width": 5, "height": 5} | image],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": 7} | entry for n, entry in enumerate(annotations)],
    }


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def test_later_annotations_cover_earlier_ones_and_categories_go_by_name(tmp_path: Path) -> None:
    content = annotated(
        {"category_id": 2, "segmentation": square(0, 0, 4)},
        {"category_id": 1, "segmentation": square(1, 1, 2) + square(4, 4, 1)},
        {"category_id": 0, "segmentation": {"size": [5, 5], "counts": [0, 1, 24]}},
        {"category_id": 3, "segmentation": square(2, 2, 1)},
    )
    expected = [[255, 1, 1, 1, 0], [1, 3, 3, 1, 0], [1, 3, 0, 1, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 3]]
    assert read(make_maps(tmp_path, {"plain": RING}), content)["plain"].tolist() == expected


def test_a_file_without_sizes_is_drawn_at_the_images(tmp_path: Path) -> None:
    content = annotated({"category_id": 2, "segmentation": square(0, 0, 9)})
    del content["images"][0]["width"], content["images"][0]["height"]
    assert (read(make_maps(tmp_path, {"plain": RING}), content)["plain"] == 1).all()


FAULTS = {
    "not readable JSON (Expecting property name": "{",
    "expected an object in braces, found list": [],
    "(KeyError: 'categories')": {"images": []},
    "(KeyError: 'segmentation')": annotated({"category_id": 2, "bbox": [0, 0, 1, 1]}),
    "annotation 0 is of category 99, which the file does not list": annotated(
        {"category_id": 99, "segmentation": square(0, 0, 1)}
    ),
    "category 'dragon' is none of background, void, cat, traffic light, Ente: gelb; rename it": annotated(
        {"category_id": 4, "segmentation": square(0, 0, 1)}
    ),
    "other.jpg is none of the run's train images": annotated(file_name="other.jpg"),
    "plain.jpg is 6 × 5 pixels there, the image 5 × 5": annotated(width=6),
    "annotation 0 of plain.jpg: run lengths of size [5, 4], expected [5, 5]; draw it again": annotated(
        {"category_id": 2, "segmentation": {"size": [5, 4], "counts": [20]}}
    ),
    "the run lengths do not cover": annotated({"category_id": 2, "segmentation": {"size": [5, 5], "counts": ""}}),
    "plain.jpg: the run lengths": annotated({"category_id": 2, "segmentation": {"size": [5, 5], "counts": [3, 4]}}),
    "three points or more": annotated({"category_id": 2, "segmentation": [[0, 0, 1, 1]]}),
    "polygons of three points or more in the image": annotated({"category_id": 2, "segmentation": square(1e9, 0, 1)}),
    "in the image; draw it again": annotated({"category_id": 2, "segmentation": square(float("nan"), 0, 1)}),
    "annotation 0": annotated({"category_id": 2, "segmentation": None}),
}


@pytest.mark.parametrize("message", FAULTS)
def test_what_does_not_fit_is_named_in_one_line(tmp_path: Path, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(make_maps(tmp_path, {"plain": RING}), FAULTS[message])
    assert message in str(caught.value)
    assert "corrected.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_images_of_one_id_are_refused(tmp_path: Path) -> None:
    content = annotated()
    content["images"] *= 2
    with pytest.raises(InputError, match="two images have one id"):
        read(make_maps(tmp_path, {"plain": RING}), content)


def test_without_pycocotools_polygons_are_written_and_run_lengths_name_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    maps = make_maps(tmp_path)
    write(maps, segmentation="polygons")
    with pytest.raises(InputError, match="pip install pycocotools"):
        write(maps)
