"""Folders of palette PNGs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.exports.conftest import EXAMPLES, make_maps
from wsss.data import palette, save_mask
from wsss.errors import InputError
from wsss.exports import read_pngs, write_pngs


def test_label_maps_come_back_from_the_folder(tmp_path: Path) -> None:
    maps = make_maps(tmp_path)
    write_pngs(maps, tmp_path / "png")
    back = dict(read_pngs(tmp_path / "png", maps.data, maps.ids))
    assert back.keys() == EXAMPLES.keys()
    for image_id, labels in EXAMPLES.items():
        np.testing.assert_array_equal(back[image_id], labels)


def test_names_and_colours_are_listed_as_the_pictures_show_them(tmp_path: Path) -> None:
    write_pngs(make_maps(tmp_path), tmp_path)
    lines = (tmp_path / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["0\tbackground\t0,0,0", "1\tcat\t128,0,0"]
    assert lines[-1] == "255\tvoid\t224,224,192"
    seen = np.array(Image.open(tmp_path / "plain.png").convert("RGB"))
    np.testing.assert_array_equal(seen, palette()[EXAMPLES["plain"]])


@pytest.mark.parametrize("fault", ["empty", "name", "size", "value", "colour"])
def test_what_does_not_fit_is_named(tmp_path: Path, fault: str) -> None:
    maps = make_maps(tmp_path)
    path = maps.folder / "plain.png"
    messages = {
        "empty": r"no PNG in there",
        "name": r"other\.png is none of the run's train images",
        "size": r"plain\.png: the mask is 6 × 5 pixels, its image 5 × 5",
        "value": r"plain\.png: label value 9 is out of range",
        "colour": r"plain\.png: a mask must hold label values",
    }
    if fault == "empty":
        shutil.rmtree(maps.folder)
        maps.folder.mkdir()
    elif fault == "name":
        path.rename(path.with_name("other.png"))
    elif fault == "size":
        save_mask(path, np.zeros((5, 6), np.uint8))
    elif fault == "value":
        save_mask(path, np.full((5, 5), 9, np.uint8))
    else:
        Image.new("RGB", (5, 5)).save(path)
    with pytest.raises(InputError, match=messages[fault]):
        list(read_pngs(maps.folder, maps.data, maps.ids))
