"""COCO's JSON to classes, labels, lists and masks: two images of 5 × 6 pixels, worked out by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss.data import describe, read_labels, read_mask, read_split, save_mask, survey
from wsss.errors import InputError
from wsss.prepare.coco import prepare_coco

REPOSITORY = Path(__file__).parents[2]
TRAIN, EMPTY = "train2014/COCO_train2014_000000000009", "train2014/COCO_train2014_000000000025"
VAL = "val2014/COCO_val2014_000000000042"
# Label values 1, 2, 3, 4: between the ids 3 and 85 there are gaps, as in COCO's.
CATEGORIES = [
    {"id": 85, "name": "clock"},
    {"id": 1, "name": "person"},
    {"id": 3, "name": "car"},
    {"id": 51, "name": "bowl"},
]

# A car over columns 0 to 4 of rows 0 to 3, a person on it, and a crowd of people in the last column, rows 1 to 4.
DRAWN = [
    [2, 2, 2, 2, 2, 0],
    [2, 1, 1, 1, 2, 1],
    [2, 1, 1, 1, 2, 1],
    [2, 2, 2, 2, 2, 1],
    [0, 0, 0, 0, 0, 1],
]
# A clock of two parts; of the bowl below it nothing can be drawn.
DRAWN_VAL = [
    [4, 0, 0, 0, 0, 4],
    [4, 0, 0, 0, 0, 4],
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
]


def box(left: int, top: int, right: int, bottom: int) -> list[int]:
    """A rectangle's corners; columns left to right - 1 and rows top to bottom - 1 lie inside."""
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(
    number: int, image: int, category: int, area: float, segmentation: Any, crowd: int = 0
) -> dict[str, Any]:
    ids = {"id": number, "image_id": image, "category_id": category}
    return {"segmentation": segmentation, "area": area, "iscrowd": crowd, "bbox": [0, 0, 1, 1], **ids}


def instances(split: str, numbers: list[int], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    names = [(number, f"COCO_{split}_{number:012}.jpg") for number in numbers]
    images = [{"id": number, "file_name": name, "height": 5, "width": 6} for number, name in names]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


@pytest.fixture
def content() -> dict[str, dict[str, Any]]:
    """Both JSON files."""
    crowd = {"size": [5, 6], "counts": [26, 4]}  # column by column: all but the last 4 of 30 pixels lie outside
    train = [
        annotation(1, 9, 1, 6, [box(1, 1, 4, 3)]),
        annotation(2, 9, 3, 20, [box(0, 0, 5, 4)]),
        annotation(3, 9, 1, 4, crowd, crowd=1),
    ]
    val = [
        annotation(4, 42, 85, 4, [box(0, 0, 1, 2), box(5, 0, 6, 2), [3, 3, 4, 4]]),
        annotation(5, 42, 51, 1, [[0, 4, 6, 4]]),
    ]
    return {"train2014": instances("train2014", [25, 9], train), "val2014": instances("val2014", [42], val)}


@pytest.fixture
def coco(tmp_path: Path, content: dict[str, dict[str, Any]]) -> Path:
    """COCO as unpacked."""
    root = tmp_path / "coco"
    for image_id in (TRAIN, EMPTY, VAL):
        path = root / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 5)).save(path)
    write_json(root, content)
    return root


def write_json(root: Path, content: dict[str, dict[str, Any]]) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    for folder, part in content.items():
        (root / "annotations" / f"instances_{folder}.json").write_text(json.dumps(part))


def mask_of(root: Path, image_id: str) -> list[list[int]]:
    return read_mask(root / "SegmentationClass" / f"{image_id}.png").tolist()


def test_classes_labels_and_lists_are_written(coco: Path) -> None:
    prepare_coco(coco, masks=False)
    assert (coco / "classes.txt").read_text() == "person\ncar\nbowl\nclock\n"
    assert (coco / "labels.csv").read_text() == f"image,labels\n{TRAIN},person;car\n{EMPTY},\n{VAL},bowl;clock\n"
    lists = coco / "ImageSets" / "Segmentation"
    assert (lists / "train.txt").read_text() == f"{TRAIN}\n{EMPTY}\n"
    assert (lists / "val.txt").read_text() == f"{VAL}\n"
    assert not (coco / "SegmentationClass").exists()


def test_smaller_instances_lie_on_top_and_crowds_take_their_class(coco: Path) -> None:
    prepare_coco(coco, jobs=1)
    assert mask_of(coco, TRAIN) == DRAWN
    assert mask_of(coco, VAL) == DRAWN_VAL
    assert not np.any(mask_of(coco, EMPTY))
    with Image.open(coco / "SegmentationClass" / f"{TRAIN}.png") as mask:
        assert mask.mode == "P"


def test_what_is_written_is_read_as_a_data_set(coco: Path) -> None:
    prepare_coco(coco, jobs=1)
    data = describe(coco)
    assert (data.labels, data.mask_folder, data.classes[-1]) == ("table", "SegmentationClass", "clock")
    assert read_split(data, "train") == [TRAIN, EMPTY]
    assert [read_labels(data, image_id) for image_id in (TRAIN, EMPTY, VAL)] == [[0, 1], [], [2, 3]]
    found = survey(data, {"train": [TRAIN, EMPTY], "val": [VAL]}, truth=[TRAIN, EMPTY, VAL])
    assert not found.errors
    assert not any("without a line" in note.text for note in found.notes)


def test_of_equal_instances_the_first_lies_on_top(coco: Path, content: dict[str, Any]) -> None:
    content["train2014"]["annotations"][1]["area"] = 6
    write_json(coco, content)
    prepare_coco(coco, jobs=1)
    assert mask_of(coco, TRAIN) == DRAWN


def test_void_crowds_keep_their_image_label(coco: Path, content: dict[str, Any]) -> None:
    content["train2014"]["annotations"].pop(0)  # the only people left are the crowd
    write_json(coco, content)
    prepare_coco(coco, crowd="void", jobs=1)
    mask = np.array(mask_of(coco, TRAIN))
    assert mask[:, 5].tolist() == [0, 255, 255, 255, 255]
    assert f"{TRAIN},person;car" in (coco / "labels.csv").read_text()


def test_photographs_may_lie_under_images(coco: Path) -> None:
    (coco / "images").mkdir()
    for folder in ("train2014", "val2014"):
        (coco / folder).rename(coco / "images" / folder)
    prepare_coco(coco, jobs=1)
    assert mask_of(coco, TRAIN) == DRAWN


def test_degenerate_polygons_are_counted(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_coco(coco, masks=False)
    assert "skipped 2 polygons of fewer than 3 points, first in annotation 4" in caplog.text


def test_unofficial_numbers_of_images_are_told(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    prepare_coco(coco, masks=False)
    assert "train: 2 images, 1 of them annotated" in caplog.text
    assert "val: the official release has 40504 images" in caplog.text


def test_a_second_call_draws_only_what_is_missing(coco: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_coco(coco, jobs=1)
    masks = coco / "SegmentationClass"
    kept, lost = masks / f"{VAL}.png", masks / f"{TRAIN}.png"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    caplog.set_level("INFO")
    prepare_coco(coco, jobs=1)
    assert "masks: 1 written, 2 were there" in caplog.text
    assert mask_of(coco, TRAIN) == DRAWN
    assert kept.stat().st_mtime_ns == before


def test_masks_of_two_kinds_are_not_mixed(coco: Path) -> None:
    prepare_coco(coco, jobs=1)
    with pytest.raises(InputError, match=r"its masks were made otherwise.*class.*void.*move the folder away"):
        prepare_coco(coco, crowd="void", jobs=1)


def give_masks(folder: Path, name: Callable[[str], str], labels: dict[int, int]) -> None:
    """The two masks above, void in one corner, in other values; the image without annotations has none."""
    for image_id, drawn in ((TRAIN, DRAWN), (VAL, DRAWN_VAL)):
        mask = np.vectorize(lambda value: labels.get(value, value))(np.array(drawn)).astype(np.uint8)
        mask[4, 0] = 255
        path = folder / name(image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_mask(path, mask)


NAMES = {
    "folders": lambda image_id: f"{image_id}.png",
    "folders, numbers": lambda image_id: f"{image_id.split('/')[0]}/{image_id[-12:]}.png",
    "flat": lambda image_id: f"{image_id.split('/')[1]}.png",
    "flat, numbers": lambda image_id: f"{image_id[-12:]}.png",
}
CATEGORY_IDS = {1: 1, 2: 3, 3: 51, 4: 85}


@pytest.mark.parametrize("labels", [{}, CATEGORY_IDS], ids=["contiguous", "category"])
@pytest.mark.parametrize("layout", NAMES)
def test_masks_people_have_are_taken(coco: Path, tmp_path: Path, layout: str, labels: dict[int, int]) -> None:
    give_masks(tmp_path / "given", NAMES[layout], labels)
    prepare_coco(coco, given=tmp_path / "given", jobs=1)
    for image_id, drawn in ((TRAIN, DRAWN), (VAL, DRAWN_VAL)):
        assert mask_of(coco, image_id) == [*drawn[:4], [255, *drawn[4][1:]]]
    assert not np.any(mask_of(coco, EMPTY))


def test_values_are_told_once(coco: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    give_masks(given, NAMES["flat"], CATEGORY_IDS)
    prepare_coco(coco, given=given, jobs=1)
    (coco / "SegmentationClass" / f"{TRAIN}.png").unlink()
    (given / NAMES["flat"](VAL)).write_bytes(b"")  # looked into again, this would be an error
    prepare_coco(coco, given=given, jobs=1)
    assert mask_of(coco, TRAIN)[0] == DRAWN[0]


def test_ambiguous_values_have_to_be_named(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], {2: 3, 4: 1})  # 1 and 3 are labels and category ids
    with pytest.raises(InputError, match="fit labels and category ids alike; pass --values contiguous or"):
        prepare_coco(coco, given=tmp_path / "given", jobs=1)
    prepare_coco(coco, given=tmp_path / "given", values="category", jobs=1)
    assert mask_of(coco, TRAIN)[0] == DRAWN[0]


def test_mixed_values_are_refused(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], {2: 3, 1: 2, 4: 85})
    with pytest.raises(InputError, match=r"85 in .*_000000000042.png is not contiguous; 2 in .*09.png is not category"):
        prepare_coco(coco, given=tmp_path / "given", jobs=1)


def test_values_that_were_named_wrongly_are_refused_before_a_mask_is_written(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], {})
    with pytest.raises(InputError, match=r"2 in .*000000000009.png is not category"):
        prepare_coco(coco, given=tmp_path / "given", values="category", jobs=1)
    prepare_coco(coco, given=tmp_path / "given", values="contiguous", jobs=1)
    assert mask_of(coco, TRAIN)[0] == DRAWN[0]


def test_a_value_that_came_later_is_refused(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], CATEGORY_IDS)
    prepare_coco(coco, given=tmp_path / "given", jobs=1)
    (coco / "SegmentationClass" / f"{TRAIN}.png").unlink()
    give_masks(tmp_path / "given", NAMES["flat"], {})
    with pytest.raises(InputError, match=r"000000000009.png: value 2 does not fit the other masks"):
        prepare_coco(coco, given=tmp_path / "given", jobs=1)


def test_a_given_mask_of_another_size_is_named(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], {})
    save_mask(tmp_path / "given" / NAMES["flat"](VAL), np.full((6, 5), 4, np.uint8))
    with pytest.raises(InputError, match=r"000000000042.png: 6 × 5 pixels, its image 5 × 6"):
        prepare_coco(coco, given=tmp_path / "given", jobs=1)


def test_a_missing_given_mask_is_named(coco: Path, tmp_path: Path) -> None:
    give_masks(tmp_path / "given", NAMES["flat"], {})
    (tmp_path / "given" / NAMES["flat"](VAL)).unlink()
    with pytest.raises(InputError, match=rf"{VAL}.png: no such mask.* 1 annotated images"):
        prepare_coco(coco, given=tmp_path / "given", jobs=1)


def test_given_masks_may_not_lie_where_masks_are_written(coco: Path) -> None:
    (coco / "SegmentationClass").mkdir()
    with pytest.raises(InputError, match="move yours"):
        prepare_coco(coco, given=coco / "SegmentationClass", jobs=1)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("val2014", "val2014: no such folder; unpack http://images.cocodataset.org/zips/val2014.zip"),
        (
            "annotations/instances_train2014.json",
            "no such file; unpack http.*/annotations/annotations_trainval2014.zip",
        ),
        (f"{EMPTY}.jpg", "25.jpg: no such photograph, 1 of 2 are missing; unpack http.*/zips/train2014.zip"),
    ],
)
def test_what_is_missing_is_named_before_any_work(coco: Path, missing: str, message: str) -> None:
    (coco / missing).rename(coco / "elsewhere")
    with pytest.raises(InputError, match=message):
        prepare_coco(coco, jobs=1)
    assert not (coco / "classes.txt").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"category_id": 12}, "annotation 1: category 12 is not in the file"),
        ({"image_id": 7}, "annotation 1: image 7 is not in the file"),
        ({"area": None}, "annotation 1: .*NoneType"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 1: expected polygons as lists of x, y, x, y"),
        ({"segmentation": [["a"]]}, "annotation 1: could not convert"),
        ({"segmentation": [[1, 2, 1e9, 4, 5, 6]]}, "annotation 1: its polygon has corners far outside train2014/COCO"),
        ({"segmentation": [[1, 2, float("nan"), 4, 5, 6]]}, "annotation 1: its polygon has corners far outside"),
        (
            {"segmentation": {"size": [5, 6], "counts": [3, 4]}},
            "annotation 1: its run lengths do not fill train2014/COCO",
        ),
        ({"segmentation": {"size": [6, 5], "counts": [30]}}, "annotation 1: its run lengths do not fill"),
        ({"segmentation": {"size": [5, 6], "counts": [-1, 31]}}, "annotation 1: .*-1"),
        ({"segmentation": {"size": [5, 6]}}, "annotation 1: expected size, counts in {'size'"),
    ],
)
def test_a_wrong_annotation_is_named(coco: Path, content: dict[str, Any], fault: dict[str, Any], message: str) -> None:
    content["train2014"]["annotations"][0].update(fault)
    write_json(coco, content)
    with pytest.raises(InputError, match=f"instances_train2014.json: {message}"):
        prepare_coco(coco, jobs=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "Expecting value.*; unpack it again"),
        ("[]", "expected an object in braces"),
        (
            '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "person"}]}',
            "expected .*file_name",
        ),
        (
            '{"images": [], "annotations": [{"id": 8}], "categories": [{"id": 1, "name": "person"}]}',
            "expected .*'id': 8",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 255, "name": "person"}]}',
            "category ids from 1 to 254",
        ),
    ],
)
def test_a_broken_json_is_named(coco: Path, text: str, message: str) -> None:
    (coco / "annotations" / "instances_val2014.json").write_text(text)
    with pytest.raises(InputError, match=f"instances_val2014.json: .*{message}"):
        prepare_coco(coco, jobs=1)


@pytest.mark.parametrize(
    ("part", "entry", "message"),
    [
        ("images", {"file_name": "other.jpg"}, "two images have one id or one file name"),
        ("images", {"id": 7}, "two images have one id or one file name"),
        ("categories", {"name": "other"}, "two categories have one id or one name"),
        ("categories", {"id": 7}, "two categories have one id or one name"),
    ],
)
def test_what_is_listed_twice_is_refused(
    coco: Path, content: dict[str, Any], part: str, entry: dict[str, Any], message: str
) -> None:
    listed = content["train2014"][part]
    content["train2014"][part] = [*listed, listed[0] | entry]
    write_json(coco, content)
    with pytest.raises(InputError, match=f"instances_train2014.json: {message}"):
        prepare_coco(coco, jobs=1)


def test_both_files_must_have_the_same_categories(coco: Path, content: dict[str, Any]) -> None:
    content["val2014"]["categories"] = [*CATEGORIES, {"id": 90, "name": "toothbrush"}]
    write_json(coco, content)
    with pytest.raises(InputError, match=r"other categories than instances_train2014\.json"):
        prepare_coco(coco, jobs=1)


def test_a_photograph_of_another_size_is_named(coco: Path) -> None:
    Image.new("RGB", (5, 6)).save(coco / f"{VAL}.jpg")
    with pytest.raises(InputError, match=rf"{VAL}.jpg: 6 × 5 pixels, 5 × 6 in the JSON"):
        prepare_coco(coco, jobs=1)


def test_pycocotools_is_asked_for_only_where_masks_are_drawn(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match="needs `pip install pycocotools`"):
        prepare_coco(coco, jobs=1)
    prepare_coco(coco, masks=False)


@pytest.mark.parametrize("options", [{"crowd": "voids"}, {"values": "ids"}])
def test_unknown_options_are_refused(coco: Path, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"got .*(voids|ids)"):
        prepare_coco(coco, **options)


def call(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, REPOSITORY / "scripts" / "prepare_coco.py", *options]
    environment = {**os.environ, "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)


def test_the_script_draws_in_parallel_and_ends_in_the_next_command(coco: Path) -> None:
    result = call("--root", coco, "--jobs", "2")
    assert result.returncode == 0, result.stderr
    assert mask_of(coco, TRAIN) == DRAWN
    assert mask_of(coco, VAL) == DRAWN_VAL
    assert result.stdout.rstrip().endswith(f"next: python scripts/run_pipeline.py data=coco data.root={coco}")


def test_the_script_tells_an_error_of_a_worker_in_one_line(coco: Path) -> None:
    (coco / f"{VAL}.jpg").write_bytes(b"no photograph")
    result = call("--root", coco, "--jobs", "2")
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("error:")
    assert f"{VAL}.jpg: not a readable image" in line
