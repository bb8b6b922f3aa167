"""The evaluation server's archive."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.exports.conftest import EXAMPLES, make_maps
from wsss.data import palette
from wsss.errors import InputError
from wsss.exports import write_voc

WITHOUT_VOID = {image_id: np.where(labels == 255, 0, labels) for image_id, labels in EXAMPLES.items()}


@pytest.mark.parametrize("competition", ["comp5", "comp6"])
def test_names_and_palette_are_the_servers(tmp_path: Path, competition: str) -> None:
    write_voc(make_maps(tmp_path, WITHOUT_VOID), tmp_path, split_ids=list(WITHOUT_VOID), competition=competition)
    with tarfile.open(tmp_path / "results.tar.gz", "r:gz") as archive:
        prefix = f"results/VOC2012/Segmentation/{competition}_test_cls"
        assert archive.getnames() == [f"{prefix}/{image_id}.png" for image_id in WITHOUT_VOID]
        for member, labels in zip(archive, WITHOUT_VOID.values(), strict=True):
            with Image.open(archive.extractfile(member)) as image:
                assert image.mode == "P"
                np.testing.assert_array_equal(np.array(image.getpalette()).reshape(-1, 3), palette())
                np.testing.assert_array_equal(np.array(image), labels)


def test_equal_label_maps_give_equal_archives(tmp_path: Path) -> None:
    maps = make_maps(tmp_path, WITHOUT_VOID)
    for name in ("a", "b"):
        write_voc(maps, tmp_path / name, split_ids=maps.ids)
    assert (tmp_path / "a/results.tar.gz").read_bytes() == (tmp_path / "b/results.tar.gz").read_bytes()


def test_void_is_refused_by_the_images_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plain has 2 void pixels.*export predictions, or masks"):
        write_voc(make_maps(tmp_path), tmp_path / "voc", split_ids=list(EXAMPLES))
    assert not list((tmp_path / "voc").iterdir())


def test_images_beside_the_splits_list_are_refused(tmp_path: Path) -> None:
    maps = make_maps(tmp_path, WITHOUT_VOID)
    with pytest.raises(InputError, match="lists 5 images, these are 4, absent is in one alone"):
        write_voc(maps, tmp_path, split_ids=[*maps.ids, "absent"])
    with pytest.raises(InputError, match="lists 3 images, these are 4, plain is in one alone"):
        write_voc(maps, tmp_path, split_ids=maps.ids[1:])
