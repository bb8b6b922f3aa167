"""Every fault of a data set is found before long work starts, and named in one line."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import write_annotation
from wsss.data import Survey, image_size, save_mask, survey

IDS = ["one", "two", "three"]


def check(description, *, masks: bool = True) -> Survey:
    return survey(description, {"train": IDS}, truth=IDS if masks else ())


def refusal(description, *, masks: bool = True) -> str:
    (fault,) = {finding.text for finding in check(description, masks=masks).errors}
    assert "\n" not in fault
    return fault


@pytest.mark.parametrize("labels", ["xml", "masks"])
@pytest.mark.parametrize("masks", [False, True])
def test_a_sound_data_set_passes(tiny, labels: str, masks: bool) -> None:
    found = check(dataclasses.replace(tiny, labels=labels), masks=masks)
    assert not found.errors
    assert found.images["two"].size == (16, 24)
    assert [found.images[i].labels for i in IDS] == [(0,), (1, 2), (0,)]


def test_a_missing_image_is_named(tiny) -> None:
    tiny.image_path("two").unlink()
    assert "two: no such image, as .jpg, .png or another; add the file or take it out of the list" in refusal(tiny)


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
    assert "replace it or take it out of its list" in message


def test_an_unknown_class_name_is_named(tiny) -> None:
    tiny.annotation_path("two").write_text("<annotation><object><name>unicorn</name></object></annotation>")
    message = refusal(tiny)
    assert "two.xml: class 'unicorn' is not in the list; it is cat, dog, traffic light." in message
    assert "set data.classes" in message


def test_a_mask_of_another_size_is_named(tiny) -> None:
    save_mask(tiny.mask_path("two"), np.zeros((24, 17), np.uint8))
    message = refusal(tiny)
    assert "two.png: the mask is 17 × 24 pixels, its image 16 × 24; export it again" in message
    assert not check(tiny, masks=False).errors  # nobody looks at masks that are not needed


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


def test_every_fault_is_reported_in_the_order_of_the_list(tiny) -> None:
    tiny.image_path("three").unlink()
    tiny.annotation_path("three").unlink()
    tiny.image_path("one").write_bytes(b"")
    told = [(fault.image_id, fault.text.split(": ")[1]) for fault in check(tiny).errors]
    assert [(image_id, text.split(" (")[0].split(",")[0]) for image_id, text in told] == [
        ("one", "not a readable image"),
        ("three", "no such image"),
        ("three", "no such annotation; add it"),
    ]


def test_an_id_of_two_files_is_a_fault(tiny) -> None:
    Image.new("RGB", (16, 24)).save(tiny.image_path("two").with_suffix(".png"))
    assert "two.jpg: two.png goes by the same id; rename one of them" in refusal(tiny)


def test_equal_files_are_named(tiny) -> None:
    (note,) = check(tiny).notes
    assert note.text.endswith(f"three.jpg: the same file as {tiny.image_path('one')}; take one out")
    apart = survey(tiny, {"train": ["one", "two"], "val": ["three"]})
    assert "which is in train, this in val: scores flatter" in apart.notes[0].text
    write_annotation(tiny.annotation_path("three"), ["dog"])
    note = check(tiny).notes[0]
    assert note.image_id == "three"
    assert "with other labels; correct one or take one out" in note.text


def test_classes_nobody_shows_and_images_of_two_splits_are_noted(tiny) -> None:
    texts = [note.text for note in survey(tiny, {"train": ["one"], "val": ["one", "two"]}).notes]
    assert any("no image of train shows dog, traffic light, which cannot be learnt" in text for text in texts)
    assert any("in train and in val: one; scores flatter" in text for text in texts)


def test_classes_that_validation_lacks_are_noted(tiny) -> None:
    texts = [note.text for note in survey(tiny, {"train": IDS, "val": ["one"]}).notes]
    assert any("no image of val shows dog, traffic light, so that nothing tells" in text for text in texts)


def test_an_orientation_of_an_odd_kind_is_none(tiny) -> None:
    exif, path = Image.Exif(), tiny.image_path("two")
    exif[0x0112] = 6
    Image.new("RGB", (16, 24)).save(path, format="JPEG", exif=exif)
    short, undefined = b"\x01\x12\x00\x03\x00\x00\x00\x01", b"\x01\x12\x00\x07\x00\x00\x00\x04"
    assert short in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(short, undefined))
    assert image_size(path) == (16, 24)
    found = check(tiny)
    assert not found.errors
    assert not any("lying on its side" in note.text for note in found.notes)


def test_a_photograph_on_its_side_is_noted_and_read_upright(tiny) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tiny.image_path("two"), format="JPEG", exif=exif)
    found = check(tiny)
    assert not found.errors  # its mask is upright
    assert any("two.jpg: stored lying on its side, read upright" in note.text for note in found.notes)


def test_a_data_set_without_any_label_is_refused(tiny) -> None:
    for image_id in IDS:
        tiny.annotation_path(image_id).write_text("<annotation/>")
    assert "no image of train has a label; look at data.labels and data.classes" in refusal(tiny)


def test_files_that_are_not_text_are_named(tiny) -> None:
    tiny.annotation_path("two").write_bytes(b'<?xml version="1.0" encoding="nonsense"?><annotation/>')
    assert "two.xml: not readable XML" in refusal(tiny)


def test_a_picture_too_large_to_be_true_is_named(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert all("not a readable image" in fault.text for fault in check(tiny).errors)
    assert len(check(tiny).errors) == 3
