"""Reading data sets in VOC layout: a tree made for the tests, and mini_voc."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from wsss.data import (
    VOC_CLASSES,
    ImageDataset,
    describe,
    label_table,
    palette,
    read_image,
    read_labels,
    read_mask,
    read_split,
)
from wsss.data.dataset import collate
from wsss.errors import InputError

MINI_VOC = Path(__file__).resolve().parents[2] / "data" / "mini_voc"


def test_a_description_fills_in_what_is_not_given(root: Path) -> None:
    tiny = describe(root)
    assert (tiny.name, tiny.num_classes, tiny.labels) == ("tiny", 3, "xml")
    assert tiny.classes == ("cat", "dog", "traffic light")  # a name may hold a space
    given = describe(root, name="other", classes=["cat"], labels="masks")
    assert (given.name, given.classes, given.labels) == ("other", ("cat",), "masks")


def test_without_a_list_the_classes_are_vocs(root: Path) -> None:
    (root / "classes.txt").unlink()
    assert describe(root).classes == VOC_CLASSES
    assert len(set(VOC_CLASSES)) == 20
    assert VOC_CLASSES[14] == "person"


def test_labels_come_from_masks_where_there_are_no_annotations(root: Path) -> None:
    for path in (root / "Annotations").iterdir():
        path.unlink()
    (root / "Annotations").rmdir()
    assert describe(root).labels == "masks"


def test_split_keeps_the_order_of_its_list(tiny) -> None:
    assert read_split(tiny, "train") == ["one", "two", "three"]


@pytest.mark.parametrize("source", ["xml", "masks"])
def test_labels_are_read_from_annotations_and_from_masks(tiny, source: str) -> None:
    tiny = dataclasses.replace(tiny, labels=source)
    assert [read_labels(tiny, i) for i in ("one", "two", "three")] == [[0], [1, 2], [0]]
    assert label_table(tiny, ["two", "one"]).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_classes_of_few_pixels_are_left_out_of_mask_labels(tiny) -> None:
    assert read_labels(dataclasses.replace(tiny, labels="masks", min_mask_pixels=26), "one") == []
    assert read_labels(dataclasses.replace(tiny, labels="masks", min_mask_pixels=25), "one") == [0]


def test_whether_all_masks_are_there(tiny) -> None:
    assert tiny.has_masks(["one", "two"])
    tiny.mask_path("two").unlink()
    assert not tiny.has_masks(["two"])
    with pytest.raises(InputError, match=r"two\.png: no such mask, while other images"):
        tiny.has_masks(["one", "two"])


def test_an_item_is_image_labels_and_mask(tiny) -> None:
    table = label_table(tiny, ["two"])
    sample = ImageDataset(tiny, ["two"], table, mask_folder=tiny.root / "SegmentationClass")[0]
    assert type(sample.images) is type(sample.masks) is torch.Tensor
    assert sample.images.dtype == sample.masks.dtype == torch.uint8
    assert sample.images.shape == (3, 24, 16)
    assert sample.masks.shape == (1, 24, 16)
    assert sample.labels.tolist() == [0, 1, 1]
    assert sample.ids == ["two"]
    colors = torch.from_numpy(palette())[sample.masks[0].long()].permute(2, 0, 1)
    assert torch.equal(sample.images, colors)


def test_items_without_a_mask_folder_have_empty_masks(tiny) -> None:
    dataset = ImageDataset(tiny, ["one", "three"], label_table(tiny, ["one", "three"]))
    batch = collate([dataset[0], dataset[1]])
    assert batch.images.shape == (2, 3, 16, 24)
    assert batch.masks.shape == (2, 0)


def test_collate_stacks_samples_and_joins_their_ids(tiny) -> None:
    ids = ["one", "three"]
    dataset = ImageDataset(tiny, ids, label_table(tiny, ids), mask_folder=tiny.root / "SegmentationClass")
    batch = collate([dataset[0], dataset[1]])
    assert batch.masks.shape == (2, 16, 24)
    assert batch.masks.dtype == torch.long
    assert batch.labels.shape == (2, 3)
    assert batch.ids == ids
    assert torch.equal(batch.images[1], dataset[1].images)


def test_grey_masks_are_read_like_palette_masks(tmp_path: Path) -> None:
    from PIL import Image

    mask = np.array([[0, 1], [2, 255]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "grey.png")
    assert np.array_equal(read_mask(tmp_path / "grey.png"), mask)


def test_grey_photographs_become_rgb(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").getpixel((0, 0)) == (7, 7, 7)


def test_mini_vocs_annotations_agree_with_its_masks() -> None:
    mini = describe(MINI_VOC)
    masks = dataclasses.replace(mini, labels="masks")
    ids = read_split(mini, "train")[:12] + read_split(mini, "val")[:4]
    assert mini.labels == "xml"
    for image_id in ids:
        assert read_labels(mini, image_id) == read_labels(masks, image_id)
        width, height = read_image(mini.image_path(image_id)).size
        assert read_mask(mini.mask_path(image_id)).shape == (height, width)


# --- errors ---


def refusal(call, *args: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: no such folder; set data.root" in refusal(describe, tmp_path / "none")
    assert f"{tmp_path}: no images in it; set data.root" in refusal(describe, tmp_path)
    assert "photos: no such folder; set data.image_folder" in refusal(describe, tmp_path, image_folder="photos")


def test_unknown_sources_of_labels_are_refused(root: Path) -> None:
    assert "data.labels=text: expected auto, table, xml, masks, folders" in refusal(describe, root, labels="text")


@pytest.mark.parametrize("classes", [[], ["cat", "cat"], [str(i) for i in range(255)]])
def test_lists_of_classes_that_make_no_sense_are_refused(root: Path, classes: list[str]) -> None:
    message = refusal(describe, root, classes=classes)
    assert f"data.classes: expected 1 to 254 different names, got {len(classes)}" in message


def test_a_missing_list_of_images_is_named(tiny) -> None:
    assert "val.txt: no such list of images; choose another split" in refusal(read_split, tiny, "val")


def test_an_empty_list_of_images_is_refused(tiny) -> None:
    (tiny.root / "ImageSets/Segmentation/train.txt").write_text("\n\n")
    assert "train.txt: an empty list; write one image id a line" in refusal(read_split, tiny, "train")


def test_an_image_listed_twice_is_named(tiny) -> None:
    (tiny.root / "ImageSets/Segmentation/train.txt").write_text("one\ntwo\none\n")
    assert "train.txt: image one is listed twice; remove one line" in refusal(read_split, tiny, "train")


def test_broken_annotations_are_named(tiny) -> None:
    tiny.annotation_path("one").write_text("<annotation><object>")
    assert "one.xml: not readable XML" in refusal(read_labels, tiny, "one")
    tiny.annotation_path("one").unlink()
    assert "one.xml: no such annotation; add it, or read labels from the masks by data.labels=masks" in refusal(
        read_labels, tiny, "one"
    )


def test_a_list_that_is_not_text_is_named(tiny) -> None:
    path = tiny.root / "ImageSets" / "Segmentation" / "odd.txt"
    path.write_bytes(b"\xff\xfe1\x00")
    with pytest.raises(InputError, match=r"odd\.txt: not a readable text file .* save it as UTF-8"):
        read_split(tiny, "odd")


def test_a_list_that_a_windows_editor_saved_is_read(tiny) -> None:
    path = tiny.root / "ImageSets" / "Segmentation" / "odd.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert read_split(tiny, "odd") == ["one", "two"]
    path.write_text("one  1\ntwo -1\n")
    with pytest.raises(InputError, match=r"odd\.txt: expected one image id a line, found 'one  1'"):
        read_split(tiny, "odd")


@pytest.mark.parametrize(
    ("lines", "message"), [("", "expected 1 to 254"), ("cat\nBackground\n", "leave out background")]
)
def test_a_class_list_that_cannot_be_is_named(root: Path, lines: str, message: str) -> None:
    (root / "classes.txt").write_text(lines)
    with pytest.raises(InputError, match=rf"classes\.txt: {message}"):
        describe(root)


def test_a_class_list_may_begin_with_background(root: Path) -> None:
    (root / "classes.txt").write_text("background\ncat\n")
    assert describe(root).classes == ("cat",)
