"""mini_voc's generator, on stamps drawn here, and of the committed data set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wsss.errors import InputError
from wsss.labels import VOID, palette
from wsss.prepare.mini_scenes import MIN_VISIBLE_PIXELS, SIZE, Layer, instance_map
from wsss.prepare.mini_voc import (
    CLASSES,
    FOLDERS,
    LEFT_OUT,
    OBJECT_SHARES,
    build_mini_voc,
    load_cutouts,
    plan_split,
    split_of,
)

ROOT = Path(__file__).resolve().parents[2]
MINI_VOC = ROOT / "data" / "mini_voc"
SPLITS = {"train": 4, "val": 2}


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw six stamps per class: an ellipse with stripes on a transparent ground, in RGBA and palette mode."""
    root = tmp_path_factory.mktemp("stamps")
    for number, (label, folders) in enumerate(FOLDERS.items()):
        (root / folders[0]).mkdir(parents=True)
        for index in range(6):
            stamp = Image.new("RGBA", (90, 70))
            draw = ImageDraw.Draw(stamp)
            draw.ellipse((8, 8, 80, 40 + 4 * index), fill=(40 * number, 200 - 30 * index, 90, 255))
            draw.line((20, 20, 70, 25), fill=(255, 255, 255, 255), width=3)
            if index == 1:
                stamp = stamp.quantize(8)
            stamp.save(root / folders[0] / f"{label}{index}.png")
    Image.new("RGBA", (50, 50), (255, 0, 0, 255)).save(root / "animals/fish/lobster.png")
    return root


@pytest.fixture(scope="module")
def built(stamps: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a few images from the drawn stamps."""
    out = tmp_path_factory.mktemp("built")
    build_mini_voc(stamps, out, seed=3, splits=SPLITS)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def read_ids(root: Path, split: str) -> list[str]:
    """Read an image list."""
    return (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


def read_mask(root: Path, name: str) -> np.ndarray:
    """Read the labels of a mask."""
    with Image.open(root / "SegmentationClass" / f"{name}.png") as mask:
        assert mask.mode == "P"
        return np.asarray(mask)


def read_objects(root: Path, name: str) -> list[ElementTree.Element]:
    """Read the objects of an annotation."""
    return ElementTree.parse(root / "Annotations" / f"{name}.xml").findall("object")


def check_image(root: Path, name: str) -> None:
    """Check that image, mask and annotation of one name agree."""
    xml = ElementTree.parse(root / "Annotations" / f"{name}.xml")
    mask = read_mask(root, name)
    with Image.open(root / "JPEGImages" / f"{name}.jpg") as image:
        assert image.mode == "RGB"
        assert image.size == (SIZE, SIZE)
    assert mask.shape == (SIZE, SIZE)
    assert (xml.findtext("size/width"), xml.findtext("size/height")) == (str(SIZE), str(SIZE))
    assert xml.findtext("filename") == f"{name}.jpg"
    assert xml.findtext("segmented") == "1"

    objects = xml.findall("object")
    labels = [CLASSES.index(item.findtext("name", "")) + 1 for item in objects]
    assert 1 <= len(objects) <= 3
    assert len(set(labels)) == len(labels)
    assert set(np.unique(mask).tolist()) == {0, VOID, *labels}
    for item, label in zip(objects, labels, strict=True):
        box = tuple(int(item.findtext(f"bndbox/{tag}", "")) for tag in ("xmin", "ymin", "xmax", "ymax"))
        ys, xs = np.nonzero(mask == label)
        assert box == (xs.min() + 1, ys.min() + 1, xs.max() + 1, ys.max() + 1)
        assert len(ys) >= MIN_VISIBLE_PIXELS
        assert item.findtext("truncated") in {"0", "1"}
        assert item.findtext("difficult") == "0"


def stamps_used(root: Path, split: str) -> set[str]:
    """Collect the stamps that the objects of a split were cut from."""
    return {item.findtext("stamp", "") for name in read_ids(root, split) for item in read_objects(root, name)}


def test_same_seed_gives_same_bytes(stamps: Path, built: Path, tmp_path: Path) -> None:
    build_mini_voc(stamps, tmp_path / "again", seed=3, splits=SPLITS)
    build_mini_voc(stamps, tmp_path / "other", seed=4, splits=SPLITS)
    assert contents(tmp_path / "again") == contents(built)
    assert contents(tmp_path / "other") != contents(built)


def test_rebuild_replaces_images_and_keeps_other_files(stamps: Path, built: Path, tmp_path: Path) -> None:
    build_mini_voc(stamps, tmp_path, seed=5, splits={"train": 5, "val": 2})
    (tmp_path / "JPEGImages" / "holiday.jpg").write_bytes(b"mine")
    build_mini_voc(stamps, tmp_path, seed=3, splits=SPLITS)
    assert contents(tmp_path) == contents(built) | {"JPEGImages/holiday.jpg": b"mine"}


def test_layout(built: Path) -> None:
    train, val = read_ids(built, "train"), read_ids(built, "val")
    assert train == [f"mini_{number:06d}" for number in range(1, 5)]
    assert val == ["mini_000005", "mini_000006"]
    assert read_ids(built, "trainval") == train + val
    assert (built / "classes.txt").read_text().split() == ["bird", "cow", "fish", "flower", "produce"]
    for split in ("train", "val"):
        lists = [(built / "ImageSets" / kind / f"{split}.txt").read_text() for kind in ("Main", "Segmentation")]
        assert lists[0] == lists[1]


def test_built_images_agree_with_their_annotations(built: Path) -> None:
    for name in read_ids(built, "trainval"):
        check_image(built, name)


def test_split_rule(stamps: Path) -> None:
    assert [index for index in range(20) if split_of(index) == "val"] == [2, 5, 8, 12, 15, 18]
    cutouts = load_cutouts(stamps)
    assert [cutout.path for cutout in cutouts["val"]["bird"]] == ["animals/birds/bird2.png", "animals/birds/bird5.png"]
    assert len(cutouts["train"]["bird"]) == 4
    # The lobster is left out before the fish are counted.
    assert [Path(cutout.path).stem for cutout in cutouts["val"]["fish"]] == ["fish2", "fish5"]


def test_plan_shares_classes_and_counts_out(stamps: Path) -> None:
    cutouts = load_cutouts(stamps)["train"]
    plan = plan_split(cutouts, images=60, rng=np.random.default_rng(0))
    assert Counter(len(chosen) for chosen in plan) == {1: 21, 2: 27, 3: 12}
    used = Counter(cutout.label for chosen in plan for cutout in chosen)
    assert max(used.values()) - min(used.values()) <= 1
    assert all(len({cutout.label for cutout in chosen}) == len(chosen) for chosen in plan)


def test_masks_have_the_colours_of_voc(built: Path) -> None:
    with Image.open(built / "SegmentationClass" / "mini_000001.png") as mask:
        assert mask.getpalette() == palette().ravel().tolist()


def test_void_rim_separates_objects() -> None:
    def square(top: int, left: int) -> object:
        opacity = np.zeros((SIZE, SIZE))
        opacity[top : top + 20, left : left + 20] = 1
        return Layer(colours=np.zeros((SIZE, SIZE, 3)), opacity=opacity, area=400)

    instances = instance_map([square(10, 10), square(10, 25)])
    assert instances[20].tolist()[8:47] == [0] + [255] + [1] * 14 + [255] + [2] * 20 + [255] + [0]
    assert instances[8:11, 15].tolist() == [0, 255, 1]


def test_missing_stamps_name_the_package(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tuxpaint-stamps-default.*dpkg -x"):
        build_mini_voc(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_few_stamps_name_the_class(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few PNG stamps of class bird"):
        load_cutouts(tmp_path)


class TestCommitted:
    """The data set as it lies in the repository."""

    def test_counts(self) -> None:
        train, val = read_ids(MINI_VOC, "train"), read_ids(MINI_VOC, "val")
        assert (len(train), len(val), len({*train, *val})) == (600, 150, 750)
        for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png"), ("Annotations", "xml")):
            assert {p.name for p in (MINI_VOC / folder).iterdir()} == {f"{name}.{suffix}" for name in train + val}

    def test_size(self) -> None:
        assert sum(path.stat().st_size for path in MINI_VOC.rglob("*")) <= 8_000_000

    @pytest.mark.parametrize("split", ["train", "val"])
    def test_shares(self, split: str) -> None:
        objects = [read_objects(MINI_VOC, name) for name in read_ids(MINI_VOC, split)]
        sizes = Counter(len(items) for items in objects)
        for count, share in OBJECT_SHARES.items():
            assert sizes[count] / len(objects) == pytest.approx(share, abs=0.01)
        used = Counter(item.findtext("name") for items in objects for item in items)
        assert set(used) == set(CLASSES)
        assert max(used.values()) - min(used.values()) <= 1

    def test_images_agree_with_their_annotations(self) -> None:
        for name in read_ids(MINI_VOC, "trainval"):
            check_image(MINI_VOC, name)

    def test_val_objects_are_unseen(self) -> None:
        train, val = stamps_used(MINI_VOC, "train"), stamps_used(MINI_VOC, "val")
        assert (len(train), len(val)) == (90, 38)
        assert not train & val
        assert not (train | val) & LEFT_OUT

    def test_licence_lies_beside(self) -> None:
        licence = (MINI_VOC / "LICENSE").read_text()
        assert "tuxpaint-stamps-default 2022.06.04-1" in licence
        assert "GNU GENERAL PUBLIC LICENSE" in licence
