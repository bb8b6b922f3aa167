"""Every fault of a data set is found before long work starts, and named in one line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from wsss.data import check_images, save_mask
from wsss.errors import InputError

IDS = ["one", "two", "three"]


def refusal(description, *, masks: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        check_images(description, IDS, masks=masks)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("labels", ["xml", "masks"])
@pytest.mark.parametrize("masks", [False, True])
def test_a_sound_data_set_passes(tiny, labels: str, masks: bool) -> None:
    check_images(dataclasses.replace(tiny, labels=labels), IDS, masks=masks)


def test_a_missing_image_is_named(tiny) -> None:
    tiny.image_path("two").unlink()
    assert "two.jpg: no such image; add the file or remove its id from the list" in refusal(tiny)


def test_an_image_of_garbage_is_named(tiny) -> None:
    tiny.image_path("two").write_bytes(b"<html>not found</html>")
    assert "two.jpg: not a readable image" in refusal(tiny)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_truncated_image_is_named(tiny, file_format: str) -> None:
    path = tiny.image_path("two")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, format=file_format)
    path.write_bytes(path.read_bytes()[:3000])
    message = refusal(tiny)
    assert "two.jpg: not a readable image" in message
    assert "replace it or remove its id" in message


def test_an_unknown_class_name_is_named(tiny) -> None:
    tiny.annotation_path("two").write_text("<annotation><object><name>unicorn</name></object></annotation>")
    message = refusal(tiny)
    assert "two.xml: class 'unicorn' is not in the list (cat, dog, traffic light)" in message
    assert "set data.classes" in message


def test_a_mask_of_another_size_is_named(tiny) -> None:
    save_mask(tiny.mask_path("two"), np.zeros((24, 17), np.uint8))
    message = refusal(tiny)
    assert "two.png: the mask is 17 × 24 pixels, its image 16 × 24; export it again" in message
    check_images(tiny, IDS, masks=False)  # nobody looks at masks that are not needed


@pytest.mark.parametrize("value", [4, 254])
def test_a_label_out_of_range_is_named(tiny, value: int) -> None:
    mask = np.zeros((24, 16), np.uint8)
    mask[5, 5] = value
    save_mask(tiny.mask_path("two"), mask)
    for description, masks in ((tiny, True), (dataclasses.replace(tiny, labels="masks"), False)):
        message = refusal(description, masks=masks)
        assert f"two.png: label value {value} is out of range (0 to 3, or 255 for void); correct the mask" in message


def test_a_missing_mask_is_named(tiny) -> None:
    tiny.mask_path("three").unlink()
    assert "three.png: no such mask" in refusal(tiny)


def test_a_mask_of_colours_or_garbage_is_named(tiny) -> None:
    Image.new("RGB", (16, 24)).save(tiny.mask_path("two"))
    assert refusal(tiny).endswith(
        "two.png: a mask must hold label values, this one is RGB; save it as palette or grey PNG"
    )
    content = tiny.mask_path("one").read_bytes()
    tiny.mask_path("two").write_bytes(content[: len(content) // 2])
    assert "two.png: not a readable mask" in refusal(tiny)


def test_the_first_fault_of_the_list_is_reported(tiny) -> None:
    tiny.image_path("three").unlink()
    tiny.image_path("one").unlink()
    assert "one.jpg" in refusal(tiny)


def test_a_data_set_without_any_label_is_refused(tiny) -> None:
    for image_id in IDS:
        tiny.annotation_path(image_id).write_text("<annotation/>")
    assert "none of 3 images has a label; look at data.labels and data.classes" in refusal(tiny)


def test_files_that_are_not_text_are_named(tiny) -> None:
    tiny.annotation_path("two").write_bytes(b'<?xml version="1.0" encoding="nonsense"?><annotation/>')
    assert "two.xml: not readable XML" in refusal(tiny)


def test_a_picture_too_large_to_be_true_is_named(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "one.jpg: not a readable image" in refusal(tiny)
