"""Magnetic tiles and DAGM 2007 in the library's layout, from small trees like theirs."""

from __future__ import annotations

import filecmp
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.defects import SIZE, WHITE, write_dagm, write_mask, write_picture, write_tiles
from wsss.data import describe, read_labels, read_mask, read_split, save_mask, survey
from wsss.errors import InputError
from wsss.prepare import packaged_list
from wsss.prepare.defects import by_tile, merge_kinds, prepare_dagm, prepare_magnetic_tile, read_magnetic_tile

# The photographs themselves are not part of the project.
SAMPLE = Path(os.environ.get("WSSS_MAGNETIC_TILE", Path(__file__).parents[3] / "shared/data/magnetic_tile"))
NUMBERS = range(1000, 25000, 1000)  # four tiles of each kind, and four free
LISTS = "ImageSets/Segmentation"


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    return write_tiles(tmp_path / "tiles", NUMBERS)


@pytest.fixture
def dagm(tmp_path: Path) -> Path:
    return write_dagm(tmp_path / "dagm")


def white() -> np.ndarray:
    where = np.zeros(SIZE[::-1], bool)
    where[WHITE] = True
    return where


def link_sample(source: Path) -> Path:
    """MT_* that hold the sample's names, all of one picture and one mask."""
    write_picture(source / "one.jpg", 0)
    write_mask(source / "one.png")
    for image_id in packaged_list("magnetic_tile_train") + packaged_list("magnetic_tile_val"):
        kind, _, name = image_id.partition("_")
        folder = source / f"MT_{kind.capitalize()}" / "Imgs"
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in (".jpg", ".png"):
            (folder / f"{name}{suffix}").symlink_to(source / f"one{suffix}")
    return source


def test_the_sample_has_its_lists_labels_and_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    source, out = link_sample(tmp_path / "source"), tmp_path / "out"
    assert prepare_magnetic_tile(source, out) == 2 * 208 + 5
    data = describe(out)
    assert data.classes == ("blowhole", "break", "crack", "fray", "uneven")
    assert (len(read_split(data, "train")), len(read_split(data, "val"))) == (161, 47)
    crack, free = "crack_exp1_num_249594", "free_exp1_num_251427"
    np.testing.assert_array_equal(read_mask(data.mask_path(crack)), 3 * white())
    assert (read_labels(data, crack), read_labels(data, free)) == ([2], [])
    assert not read_mask(data.mask_path(free)).any()
    assert "5 kinds of defect; 40 photographs show none" in caplog.text
    assert f"next: python scripts/run_pipeline.py experiment=defects data.root={out}" in caplog.text
    (out / "JPEGImages" / f"{crack}.jpg").unlink()
    assert prepare_magnetic_tile(source, out) == 1
    assert prepare_magnetic_tile(source, out) == 0
    with pytest.raises(InputError, match=r"train\.txt: another list is there already"):
        prepare_magnetic_tile(source, out, full=True)


def test_a_photograph_that_the_set_lacks_is_named(tmp_path: Path) -> None:
    source = link_sample(tmp_path / "source")
    (source / "MT_Crack/Imgs/exp1_num_249594.jpg").unlink()
    with pytest.raises(InputError, match=r"no photograph for crack_exp1_num_249594 \(1 of the sample's are missing\)"):
        prepare_magnetic_tile(source, tmp_path / "out")
    with pytest.raises(InputError, match=r"MT_Free/Imgs: no photographs there; name the folder"):
        prepare_magnetic_tile(source / "MT_Crack", tmp_path / "out")


def test_all_tiles_are_split_by_tile(tiles: Path, tmp_path: Path) -> None:
    assert [len(tile) for tile in by_tile(read_magnetic_tile(tiles))] == [2] * len(NUMBERS)
    lists = {}
    for seed in (0, 1):
        out = tmp_path / f"seed{seed}"
        prepare_magnetic_tile(tiles, out, full=True, seed=seed)
        data = describe(out)
        lists[seed] = [read_split(data, split) for split in ("train", "val")]
        train, val = ({i.rpartition("_")[2] for i in ids} for ids in lists[seed])
        assert not {str(int(number) + 20) for number in train} & val  # a tile's two exposures stay together
        assert len(train | val) == 2 * len(NUMBERS)
        assert {i.partition("_")[0] for i in lists[seed][1]} <= {"blowhole", "break", "crack", "fray", "free", "uneven"}
        assert not survey(data, {"train": lists[seed][0], "val": lists[seed][1]}, truth=lists[seed][0]).errors
    assert lists[0] != lists[1]
    assert prepare_magnetic_tile(tiles, tmp_path / "seed1", full=True, seed=1) == 0


def test_faulty_tiles_are_named(tiles: Path, tmp_path: Path) -> None:
    mask = tiles / "MT_Blowhole/Imgs/exp1_num_1000.png"
    Image.new("L", (9, 7)).save(mask)
    with pytest.raises(InputError, match=r"exp1_num_1000\.png: 9 × 7 pixels, its photograph 48 × 32"):
        prepare_magnetic_tile(tiles, tmp_path / "out", full=True)
    mask.unlink()
    with pytest.raises(InputError, match=r"exp1_num_1000\.png: no such mask"):
        prepare_magnetic_tile(tiles, tmp_path / "out", full=True)
    mask.with_suffix(".jpg").rename(mask.with_name("copy.jpg"))
    with pytest.raises(InputError, match=r"copy\.jpg: expected a name as exp1_num_108719\.jpg"):
        prepare_magnetic_tile(tiles, tmp_path / "out", full=True)


def test_each_texture_of_dagm_is_a_kind_of_defect(dagm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare_dagm(dagm, out) == 2 * 18 + 5
    data = describe(out)
    assert data.classes == ("Class1", "Class2", "Class10")
    assert read_split(data, "train")[:4] == [*(f"Class1_Train_000{n}" for n in (4, 5, 6)), "Class2_Train_0004"]
    assert read_split(data, "val")[-1] == "Class10_Test_0003"
    np.testing.assert_array_equal(read_mask(data.mask_path("Class10_Test_0002")), 3 * white())
    assert (read_labels(data, "Class2_Train_0005"), read_labels(data, "Class2_Train_0004")) == ([1], [])
    assert (out / "JPEGImages/Class1_Train_0004.png").is_file()
    assert prepare_dagm(dagm, out) == 0


def test_faults_of_dagm_are_named(dagm: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"no Class1, Class2, … in it; name their folder by --source"):
        prepare_dagm(dagm / "Class1", out)
    (dagm / "Class2/Test/0002.PNG").unlink()
    with pytest.raises(InputError, match=r"0002\.PNG: no such photograph \(1 are missing\)"):
        prepare_dagm(dagm, out)
    table = dagm / "Class1/Train/Label/Labels.txt"
    table.write_text("1\n4 0 0004.PNG\n")
    with pytest.raises(InputError, match=r"Labels\.txt: expected five cells a line, found '4 0 0004\.PNG'"):
        prepare_dagm(dagm, out)
    table.unlink()
    with pytest.raises(InputError, match=r"Labels\.txt: no such table; unpack Class1 again"):
        prepare_dagm(dagm, out)


def test_kinds_merge_into_one_class_and_void_stays(dagm: Path, tmp_path: Path) -> None:
    prepare_dagm(dagm, tmp_path / "kinds")
    kinds = describe(tmp_path / "kinds")
    labels = read_mask(kinds.mask_path("Class10_Test_0002"))
    labels[0] = 255
    save_mask(kinds.mask_path("Class10_Test_0002"), labels)
    assert merge_kinds(kinds.root, tmp_path / "merged") == 2 * 18 + 5
    merged = describe(tmp_path / "merged")
    assert merged.classes == ("defect",)
    assert read_split(merged, "val") == read_split(kinds, "val")
    of_one = read_mask(merged.mask_path("Class10_Test_0002"))
    assert (of_one[0] == 255).all()
    np.testing.assert_array_equal(of_one[1:], white()[1:])
    assert (read_labels(merged, "Class10_Test_0002"), read_labels(merged, "Class10_Test_0001")) == ([0], [])
    with pytest.raises(InputError, match=r"classes\.txt: another list is there already"):
        merge_kinds(kinds.root, kinds.root)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the sample: set WSSS_MAGNETIC_TILE to its folder")
def test_the_sample_is_rebuilt(tmp_path: Path) -> None:
    sample, source, out = describe(SAMPLE), tmp_path / "source", tmp_path / "out"
    ids = read_split(sample, "trainval")
    for image_id in ids:
        kind, _, name = image_id.partition("_")
        folder = source / f"MT_{kind.capitalize()}" / "Imgs"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jpg").symlink_to(sample.image_path(image_id))
        Image.fromarray((read_mask(sample.mask_path(image_id)) > 0) * np.uint8(255)).save(folder / f"{name}.png")
    prepare_magnetic_tile(source, out)
    for folder, names in ((LISTS, ["train.txt", "val.txt", "trainval.txt"]), ("JPEGImages", [f"{i}.jpg" for i in ids])):
        assert filecmp.cmpfiles(SAMPLE / folder, out / folder, names, shallow=False)[0] == names
    rebuilt = describe(out)
    assert rebuilt.classes == sample.classes
    for image_id in ids:
        np.testing.assert_array_equal(read_mask(rebuilt.mask_path(image_id)), read_mask(sample.mask_path(image_id)))
        assert read_labels(rebuilt, image_id) == read_labels(sample, image_id)
