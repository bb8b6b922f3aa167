"""A sample rebuilt from VOC 2012 is the one that was measured on."""

from __future__ import annotations

import filecmp
import logging
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss.data import save_mask
from wsss.errors import InputError
from wsss.prepare import packaged_list, rebuild_sample

# The three hundred photographs themselves are not part of the project.
SAMPLE = Path(os.environ.get("WSSS_VOC_SAMPLE", Path(__file__).parents[3] / "shared/data/voc2012_sample"))
LISTS = "ImageSets/Segmentation"


def voc300(split: str) -> list[str]:
    return resources.files("wsss.prepare").joinpath("lists", f"voc300_{split}.txt").read_text().split()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What rebuilding reads of VOC: pictures of the ids, here of 2 × 2 pixels and class 1, and of one more."""
    root = tmp_path / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    Image.new("RGB", (2, 2)).save(root / "JPEGImages/one.jpg")
    save_mask(root / "SegmentationClass/one.png", np.ones((2, 2), np.uint8))
    for image_id in voc300("train") + voc300("val"):
        (root / f"JPEGImages/{image_id}.jpg").symlink_to("one.jpg")
        (root / f"SegmentationClass/{image_id}.png").symlink_to("one.png")
    return root


def test_the_lists_part_three_hundred_images() -> None:
    train, val = voc300("train"), voc300("val")
    assert (len(train), len(val), len({*train, *val})) == (180, 120, 300)


def test_a_sample_has_its_own_files_lists_and_labels(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "voc300"
    assert rebuild_sample("voc300", root, out) == 604
    assert (out / LISTS / "val.txt").read_text().split() == voc300("val")
    assert (out / LISTS / "trainval.txt").read_text().split() == sorted(voc300("train") + voc300("val"))
    files = [path for folder in ("JPEGImages", "SegmentationClass") for path in (out / folder).iterdir()]
    assert len(files) == 600
    assert not any(path.is_symlink() for path in files)
    rows = (out / "labels.csv").read_text().splitlines()
    assert rows[:2] == ["image,labels", "2007_000033,aeroplane"]
    assert len(rows) == 301


def test_a_second_call_writes_nothing_and_names_the_next_command(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rebuild_sample("voc300", root, tmp_path / "out")
    assert rebuild_sample("voc300", root, tmp_path / "out") == 0
    assert "train 180, val 120; all there already, nothing done" in caplog.text
    assert f"experiment=voc_sample data.root={tmp_path / 'out'}" in caplog.text


def test_another_data_set_is_not_mixed_with(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / LISTS).mkdir(parents=True)
    (tmp_path / "out" / LISTS / "train.txt").write_text("mine\n")
    with pytest.raises(InputError, match=r"train\.txt: another list is there already; move it away"):
        rebuild_sample("voc300", root, tmp_path / "out")
    assert not list((tmp_path / "out" / "JPEGImages").iterdir())


def test_an_image_that_voc_lacks_is_named(root: Path, tmp_path: Path) -> None:
    (root / "JPEGImages/2007_000033.jpg").unlink()
    with pytest.raises(InputError, match=r"2007_000033\.jpg: no such file \(1 missing in val\)"):
        rebuild_sample("voc300", root, tmp_path / "out")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the sample: set WSSS_VOC_SAMPLE to its folder")
def test_the_sample_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    root = tmp_path / "VOC2012"
    root.mkdir()
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).symlink_to(SAMPLE / folder)
    rebuild_sample("voc300", root, tmp_path / "out")
    for folder in ("JPEGImages", "SegmentationClass", LISTS):
        assert {p.name for p in (tmp_path / "out" / folder).iterdir()} == {p.name for p in (SAMPLE / folder).iterdir()}
        names = [path.name for path in (SAMPLE / folder).iterdir()]
        assert filecmp.cmpfiles(SAMPLE / folder, tmp_path / "out" / folder, names, shallow=False)[0] == names


def test_the_images_that_chose_options_are_thirty_of_the_train_images() -> None:
    tuned = packaged_list("voc300_tuned")
    assert len(tuned) == 30
    assert {*tuned} < {*voc300("train")}
