"""mini_voc, a small synthetic data set in VOC's layout: chooses the cut-outs of every image and writes its files.

The cut-outs are the photographs among the Tux Paint stamps, those of `val` never seen in `train`. Every image has a
random generator of its own, seeded by (seed, split, index). The stamps are under GPL-2, and so is every picture made
of them.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from wsss.data import save_mask
from wsss.errors import InputError
from wsss.prepare.mini_scenes import SIZE, Annotation, Cutout, Scene, compose, trim
from wsss.progress import follow

log = logging.getLogger(__name__)

JPEG_QUALITY = 86
PACKAGE = "tuxpaint-stamps-default 2022.06.04-1"

# Only the top level of each folder is read: the drawings and the toys lie in cartoon/, plastic/ and toys/ below it.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "bird": ("animals/birds",),
    "cow": ("animals/mammals/bovines",),
    "fish": ("animals/fish",),
    "flower": ("plants/flowers",),
    "produce": ("food/fruit", "food/vegetables"),
}
CLASSES = tuple(FOLDERS)

# Every other PNG of these folders is a photograph of what its folder says (the one drawing, swallow, is an SVG).
LEFT_OUT = frozenset(
    {
        "animals/fish/lobster.png",  # a crustacean
        "animals/fish/shrimp.png",  # a crustacean
    }
)

SPLITS: Mapping[str, int] = {"train": 600, "val": 150}
VAL_DIGITS = frozenset({2, 5, 8})
OBJECT_SHARES: Mapping[int, float] = {1: 0.35, 2: 0.45, 3: 0.20}


def split_of(index: int) -> str:
    """Return the split that the `index`-th cut-out of a class belongs to, in the order of their paths."""
    return "val" if index % 10 in VAL_DIGITS else "train"


def _list_stamps(stamps: Path, *, label: str) -> list[str]:
    """List the usable stamps of a class, as sorted paths relative to `stamps`."""
    found = (
        path.relative_to(stamps).as_posix() for folder in FOLDERS[label] for path in (stamps / folder).glob("*.png")
    )
    return sorted(set(found) - LEFT_OUT)


def load_cutouts(stamps: Path) -> dict[str, dict[str, list[Cutout]]]:
    """Load all cut-outs, by split and class."""
    if not stamps.is_dir():
        raise InputError(
            f"no stamps folder {stamps}: get the Debian package {PACKAGE.replace(' ', '=')} (apt-get download), "
            "unpack it with `dpkg -x FILE.deb DIR`, and pass --stamps DIR/usr/share/tuxpaint/stamps"
        )
    cutouts: dict[str, dict[str, list[Cutout]]] = {split: {label: [] for label in CLASSES} for split in SPLITS}
    for label in CLASSES:
        for index, path in enumerate(_list_stamps(stamps, label=label)):
            with Image.open(stamps / path) as picture:
                cutout = Cutout(label=label, path=path, picture=trim(picture))
            cutouts[split_of(index)][label].append(cutout)
        if not all(cutouts[split][label] for split in SPLITS):
            raise InputError(
                f"too few PNG stamps of class {label} in {stamps}: is this the stamps folder of {PACKAGE}?"
            )
    return cutouts


def _object_counts(images: int) -> list[int]:
    """Share `images` out over 1, 2 and 3 objects as closely to `OBJECT_SHARES` as whole images allow."""
    edges = np.rint(np.cumsum([0.0, *OBJECT_SHARES.values()]) * images).astype(int)
    return [count for count, share in zip(OBJECT_SHARES, np.diff(edges), strict=True) for _ in range(share)]


def _endless_deck(cutouts: Sequence[Cutout], *, rng: np.random.Generator) -> Iterator[Cutout]:
    """Deal the cut-outs in shuffled rounds, so that all are used about equally often."""
    while True:
        for index in rng.permutation(len(cutouts)):
            yield cutouts[index]


def plan_split(cutouts: Mapping[str, Sequence[Cutout]], *, images: int, rng: np.random.Generator) -> list[list[Cutout]]:
    """Choose the cut-outs of every image of a split: different classes in an image, all classes equally often."""
    decks = {label: _endless_deck(cutouts[label], rng=rng) for label in CLASSES}
    used: Counter[str] = Counter()
    plan = []
    for count in rng.permutation(_object_counts(images)):
        # The classes used least so far come first, ties broken at random: the totals never differ by more than one.
        ranked = sorted(CLASSES, key=lambda label: (used[label], rng.random()))
        chosen = [ranked[i] for i in rng.permutation(int(count))]
        used.update(chosen)
        plan.append([next(decks[label]) for label in chosen])
    return plan


def _annotation_xml(name: str, annotations: Sequence[Annotation]) -> str:
    """Write the annotations of an image the way VOC does, and the stamp that each object was cut from."""
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, tag: str, text: str | int = "") -> ElementTree.Element:
        child = ElementTree.SubElement(parent, tag)
        child.text = str(text) or None
        return child

    add(root, "folder", "mini_voc")
    add(root, "filename", f"{name}.jpg")
    source = add(root, "source")
    add(source, "database", "mini_voc")
    add(source, "annotation", "synthetic")
    add(source, "image", PACKAGE)
    size = add(root, "size")
    for tag, value in (("width", SIZE), ("height", SIZE), ("depth", 3)):
        add(size, tag, value)
    add(root, "segmented", 1)
    for annotation in annotations:
        item = add(root, "object")
        add(item, "name", annotation.label)
        add(item, "pose", "Unspecified")
        add(item, "truncated", int(annotation.truncated))
        add(item, "difficult", 0)
        box = add(item, "bndbox")
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), annotation.box, strict=True):
            add(box, tag, value)
        add(item, "stamp", annotation.stamp)
    ElementTree.indent(root, space="\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _clear(out: Path) -> None:
    """Remove the images of an earlier build, and nothing else that may lie in `out`."""
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png"), ("Annotations", ".xml")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for stale in (out / folder).glob(f"mini_[0-9]*{suffix}"):
            stale.unlink()


def _write_scene(out: Path, name: str, scene: Scene) -> None:
    """Write the three files of an image."""
    Image.fromarray(scene.image).save(out / "JPEGImages" / f"{name}.jpg", quality=JPEG_QUALITY, optimize=True)
    save_mask(out / "SegmentationClass" / f"{name}.png", scene.mask)
    (out / "Annotations" / f"{name}.xml").write_text(_annotation_xml(name, scene.annotations), encoding="utf-8")


def _write_lists(out: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Write the class list and the image lists of the splits."""
    (out / "classes.txt").write_text("".join(f"{label}\n" for label in CLASSES), encoding="utf-8")
    lists = {**names, "trainval": sorted(name for split in names.values() for name in split)}
    for folder in ("Segmentation", "Main"):
        (out / "ImageSets" / folder).mkdir(parents=True, exist_ok=True)
        for split, members in lists.items():
            text = "".join(f"{name}\n" for name in members)
            (out / "ImageSets" / folder / f"{split}.txt").write_text(text, encoding="utf-8")


def build_mini_voc(stamps: Path, out: Path, *, seed: int = 0, splits: Mapping[str, int] = SPLITS) -> None:
    """Build the data set in `out`, in place of an earlier one.

    Args:
        stamps: folder of the Tux Paint stamps.
        out: where its folders are made.
        seed: random seed.
        splits: number of images of each.

    Raises:
        InputError: if the folder has not the stamps of the package.
    """
    cutouts = load_cutouts(stamps)
    _clear(out)
    names: dict[str, list[str]] = {}
    first = 1
    for code, (split, images) in enumerate(splits.items()):
        plan = plan_split(cutouts[split], images=images, rng=np.random.default_rng([seed, code]))
        names[split] = [f"mini_{number:06d}" for number in range(first, first + images)]
        # From 1: numpy pads a seed with zeros, so that index 0 would repeat the random numbers of the plan.
        for index, (name, chosen) in enumerate(zip(names[split], follow(plan, split), strict=True), start=1):
            _write_scene(out, name, compose(chosen, classes=CLASSES, rng=np.random.default_rng([seed, code, index])))
        objects = Counter(cutout.label for chosen in plan for cutout in chosen)
        log.info("%s: %d images (%s)", split, images, ", ".join(f"{label} {objects[label]}" for label in CLASSES))
        first += images
    _write_lists(out, names)
