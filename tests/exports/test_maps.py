"""Which image a file of another tool belongs to."""

from pathlib import Path

import numpy as np
import pytest

from tests.exports.conftest import make_maps
from wsss.errors import InputError
from wsss.exports.maps import ImageFinder

IDS = ["a", "trip/a", "trip/b", "home/b", "trip/c.2", "far/away/d", "trip/Möwe (1)", "0a1b2c3d-e"]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        *(("a.jpg", "a"), ("a", "a"), ("trip/a.png", "trip/a"), ("home\\b.jpg", "home/b"), ("c.2", "trip/c.2")),
        *(("images/1/a1b2c3d4-c.2.jpg", "trip/c.2"), ("upload/7/00000000-Möwe_1.jpg", "trip/Möwe (1)")),
        *(("0a1b2c3d-e.jpg", "0a1b2c3d-e"), ("ffffffff-0a1b2c3d-e.jpg", "0a1b2c3d-e")),
        *(("c.2.jpeg", "trip/c.2"), ("away/d.jpg", "far/away/d"), ("/data/far/away/d.jpg", "far/away/d")),
    ],
)
def test_images_are_found_with_or_without_folder_and_suffix(name: str, image_id: str) -> None:
    assert ImageFinder(IDS, Path("x.json"))(name) == image_id


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b.jpg"], r"x\.json: b\.jpg may be trip/b or home/b"),
        (["1/a1b2c3d4-b.jpg"], r"a1b2c3d4-b\.jpg may be trip/b or home/b"),
        (["a1b2c3d-b.jpg"], r"is none of the run's train images"),
        (["sea/b.jpg"], r"sea/b\.jpg is none of the run's train images"),
        ([""], "is none of the run's train images"),
        (["c.2", "trip/c.2.png"], r"c\.2 and trip/c\.2\.png are both image trip/c\.2"),
        (["a", "a"], "a and a are both image a"),
    ],
)
def test_names_that_fit_no_one_image_are_refused(names: list[str], message: str) -> None:
    find = ImageFinder(IDS, Path("x.json"))
    for name in names[:-1]:
        find(name)
    with pytest.raises(InputError, match=message):
        find(names[-1])


def test_label_values_out_of_range_are_refused_by_name(tmp_path: Path) -> None:
    maps = make_maps(tmp_path, {"trip/a": np.full((2, 2), 4, np.uint8)})
    with pytest.raises(InputError, match=r"trip/a\.png: label value 4 is out of range"):
        list(maps)
