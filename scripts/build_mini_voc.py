"""Build ``data/mini_voc``: a small synthetic data set in PASCAL VOC layout.

Photographic cut-outs (the Tux Paint stamps) are pasted onto procedural backgrounds, so that every pixel label is known
exactly while the pictures keep real object texture. The cut-outs of ``val`` are never seen in ``train``.

Examples:
    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python scripts/build_mini_voc.py --stamps stamps/usr/share/tuxpaint/stamps
    python scripts/build_mini_voc.py --stamps stamps/usr/share/tuxpaint/stamps --out data/other --seed 1
    python scripts/build_mini_voc.py --stamps ~/stamps --out /tmp/mini_voc

Every image has its own random generator, seeded by (seed, split, index): the same seed gives the same pixels under the
same numpy and Pillow. The stamps are under GPL-2, and so is every picture made here (see ``data/mini_voc/LICENSE``).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

log = logging.getLogger("build_mini_voc")

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]

SIZE = 160
VOID = 255
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
# Longest side of an object, as a share of the image's side, by the number of objects beside it.
OBJECT_SCALES: Mapping[int, tuple[float, float]] = {1: (0.45, 0.75), 2: (0.38, 0.62), 3: (0.35, 0.52)}

MIN_VISIBLE_SHARE = 0.5
MIN_VISIBLE_PIXELS = 150
PLACE_ATTEMPTS = 200


class BuildError(Exception):
    """The data set cannot be built; the message is one line for the user."""


# ------------------------------------------------------------------------------------------------------ cut-outs


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One stamp: its class, its path below the stamps folder, and its trimmed RGBA picture."""

    label: str
    path: str
    picture: Image.Image


def split_of(index: int) -> str:
    """Return the split that the ``index``-th cut-out of a class belongs to, in the order of their paths."""
    return "val" if index % 10 in VAL_DIGITS else "train"


def list_stamps(stamps: Path, *, label: str) -> list[str]:
    """List the usable stamps of a class, as sorted paths relative to ``stamps``."""
    found = (
        path.relative_to(stamps).as_posix() for folder in FOLDERS[label] for path in (stamps / folder).glob("*.png")
    )
    return sorted(set(found) - LEFT_OUT)


def trim(picture: Image.Image) -> Image.Image:
    """Convert to RGBA and cut away the border that is (almost) transparent."""
    rgba = picture.convert("RGBA")
    return rgba.crop(rgba.getchannel("A").point([0] * 16 + [255] * 240).getbbox())


def load_cutouts(stamps: Path) -> dict[str, dict[str, list[Cutout]]]:
    """Load all cut-outs, by split and class."""
    if not stamps.is_dir():
        raise BuildError(
            f"no stamps folder {stamps}: get the Debian package {PACKAGE.replace(' ', '=')} (apt-get download), "
            "unpack it with `dpkg -x FILE.deb DIR`, and pass --stamps DIR/usr/share/tuxpaint/stamps"
        )
    cutouts: dict[str, dict[str, list[Cutout]]] = {split: {label: [] for label in CLASSES} for split in SPLITS}
    for label in CLASSES:
        for index, path in enumerate(list_stamps(stamps, label=label)):
            with Image.open(stamps / path) as picture:
                cutout = Cutout(label=label, path=path, picture=trim(picture))
            cutouts[split_of(index)][label].append(cutout)
        if not all(cutouts[split][label] for split in SPLITS):
            raise BuildError(
                f"too few PNG stamps of class {label} in {stamps}: is this the stamps folder of {PACKAGE}?"
            )
    return cutouts


# ---------------------------------------------------------------------------------------------------------- plan


def object_counts(images: int) -> list[int]:
    """Share ``images`` out over 1, 2 and 3 objects as closely to ``OBJECT_SHARES`` as whole images allow."""
    edges = np.rint(np.cumsum([0.0, *OBJECT_SHARES.values()]) * images).astype(int)
    return [count for count, share in zip(OBJECT_SHARES, np.diff(edges), strict=True) for _ in range(share)]


def endless_deck(cutouts: Sequence[Cutout], *, rng: np.random.Generator) -> Iterator[Cutout]:
    """Deal the cut-outs in shuffled rounds, so that all are used about equally often."""
    while True:
        for index in rng.permutation(len(cutouts)):
            yield cutouts[index]


def plan_split(cutouts: Mapping[str, Sequence[Cutout]], *, images: int, rng: np.random.Generator) -> list[list[Cutout]]:
    """Choose the cut-outs of every image of a split: different classes in an image, all classes equally often."""
    decks = {label: endless_deck(cutouts[label], rng=rng) for label in CLASSES}
    used: Counter[str] = Counter()
    plan = []
    for count in rng.permutation(object_counts(images)):
        # The classes used least so far come first, ties broken at random: the totals never differ by more than one.
        ranked = sorted(CLASSES, key=lambda label: (used[label], rng.random()))
        chosen = [ranked[i] for i in rng.permutation(int(count))]
        used.update(chosen)
        plan.append([next(decks[label]) for label in chosen])
    return plan


# ---------------------------------------------------------------------------------------------------- background


def power_noise(rng: np.random.Generator, *, slope: float, size: int = SIZE) -> Floats:
    """Draw a field of zero mean and unit deviation whose spectrum's amplitude falls as 1 / frequency ** slope."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    waves = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    field = np.fft.irfft2(waves * frequency**-slope, s=(size, size))
    return field / field.std()


def colour_noise(rng: np.random.Generator, *, slope: float, strength: float) -> Floats:
    """Draw noise of ``strength`` grey levels that is mostly shared by the channels, with a little colour of its own."""
    shared = power_noise(rng, slope=slope)[..., None]
    own = np.stack([power_noise(rng, slope=slope) for _ in range(3)], axis=-1)
    return strength * (shared + rng.uniform(0.1, 0.6) * own)


def gradient(rng: np.random.Generator, *, start: Floats, end: Floats) -> Floats:
    """Blend two colours along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    share = np.clip(np.cos(angle) * x + np.sin(angle) * y + 0.5, 0, 1)[..., None]
    return start * (1 - share) + end * share


def draw_colour(rng: np.random.Generator) -> Floats:
    """Draw a colour at random, more often a muted one than a loud one."""
    grey, tint = rng.uniform(40, 215), rng.normal(0, 38, size=3)
    return np.clip(grey + tint, 0, 255)


def background(rng: np.random.Generator) -> Floats:
    """Draw a background: a gradient under 1/f noise of random slope and strength."""
    canvas = gradient(rng, start=draw_colour(rng), end=draw_colour(rng))
    canvas += colour_noise(rng, slope=rng.uniform(0.6, 2.0), strength=rng.uniform(6, 30))
    return np.clip(canvas, 0, 255)


# ------------------------------------------------------------------------------------------------------- objects


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """A cut-out made ready to paste: colours (h, w, 3) in 0..255 and opacity (h, w) in 0..1."""

    colours: Floats
    opacity: Floats


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A sprite at its place: the same on the full canvas, and the area that it would have if all of it were seen."""

    colours: Floats
    opacity: Floats
    area: int

    @property
    def solid(self) -> NDArray[np.bool_]:
        """Where the object hides what is behind it."""
        return self.opacity >= 0.5


def jitter_colours(colours: Floats, *, opaque: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Change brightness, contrast, saturation and hue mildly."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    hue, saturation = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(0.75, 1.2)
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
    toned = colours @ (np.linalg.inv(to_yiq) @ turn @ to_yiq).T
    mean = toned[opaque].mean(axis=0)
    return np.clip((toned - mean) * rng.uniform(0.8, 1.15) + mean * rng.uniform(0.8, 1.2), 0, 255)


def make_sprite(cutout: Cutout, *, longest: float, rng: np.random.Generator) -> Sprite:
    """Flip, turn, resize (the longest side becomes ``longest`` pixels) and recolour a cut-out."""
    picture = cutout.picture
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Pillow turns and resizes RGBA with the colours weighted by alpha, so no dark fringe creeps in.
    picture = trim(picture.rotate(rng.uniform(-20, 20), resample=Image.Resampling.BICUBIC, expand=True))
    factor = longest / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), dtype=float)
    opacity = pixels[..., 3] / 255
    colours = jitter_colours(pixels[..., :3], opaque=opacity >= 0.5, rng=rng)
    return Sprite(colours=colours, opacity=opacity)


def lay(sprite: Sprite, *, rng: np.random.Generator) -> Layer:
    """Put a sprite at a random place of the canvas, sometimes a little across its border."""
    height, width = sprite.opacity.shape
    overhang = 0.2 if rng.random() < 0.3 else 0.0
    top, left = (
        int(np.rint(rng.uniform(-overhang * side, max(0.0, SIZE - side) + overhang * side))) for side in (height, width)
    )
    rows, columns = slice(max(0, top), min(SIZE, top + height)), slice(max(0, left), min(SIZE, left + width))
    inner = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    colours, opacity = np.zeros((SIZE, SIZE, 3)), np.zeros((SIZE, SIZE))
    colours[rows, columns], opacity[rows, columns] = sprite.colours[inner], sprite.opacity[inner]
    return Layer(colours=colours, opacity=opacity, area=int((sprite.opacity >= 0.5).sum()))


def instance_map(layers: Sequence[Layer]) -> Labels:
    """Say at each pixel which layer is seen (1 is the first, rearmost), with a void rim round every object.

    The rim is the ring of pixels just outside an object, painted over the background and over whatever object is
    behind: there the colours are mixed, as they are along the void rims of VOC.
    """
    instances = np.zeros((SIZE, SIZE), dtype=np.uint8)
    for number, layer in enumerate(layers, start=1):
        instances[layer.solid] = number
    rim = ndimage.grey_dilation(instances, size=(3, 3)) > instances
    return np.where(rim, VOID, instances).astype(np.uint8)


def all_visible(layers: Sequence[Layer]) -> bool:
    """Say whether enough is seen of every object."""
    seen = np.bincount(instance_map(layers).ravel(), minlength=VOID + 1)[1 : len(layers) + 1]
    needed = [max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * layer.area) for layer in layers]
    return bool(np.all(seen >= needed))


def place(cutouts: Sequence[Cutout], *, rng: np.random.Generator) -> list[Layer]:
    """Place the cut-outs one over the other, trying again until enough is seen of each."""
    scales = OBJECT_SCALES[len(cutouts)]
    layers: list[Layer] = []
    for cutout in cutouts:
        for _ in range(PLACE_ATTEMPTS):
            layer = lay(make_sprite(cutout, longest=rng.uniform(*scales) * SIZE, rng=rng), rng=rng)
            if all_visible([*layers, layer]):
                layers.append(layer)
                break
        else:
            raise BuildError(f"found no place where enough of {cutout.path} is seen in {PLACE_ATTEMPTS} attempts")
    return layers


# --------------------------------------------------------------------------------------------------------- scene


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What the XML says of one object; the box is (xmin, ymin, xmax, ymax), 1-based and inclusive as in VOC."""

    label: str
    stamp: str
    truncated: bool
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One finished image, its label mask and its annotations."""

    image: Labels
    mask: Labels
    annotations: list[Annotation]


def bounding_box(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box round a region, 1-based and inclusive."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(columns[0]) + 1, int(rows[0]) + 1, int(columns[-1]) + 1, int(rows[-1]) + 1


def photograph(canvas: Floats, *, rng: np.random.Generator) -> Labels:
    """Give the whole picture one light, one focus and one grain, so that pasted objects do not stand out by theirs."""
    lit = canvas * (1 + rng.uniform(0.0, 0.12) * power_noise(rng, slope=2.0))[..., None]
    focus = rng.uniform(0.2, 0.8)
    blurred = ndimage.gaussian_filter(lit, sigma=(focus, focus, 0))
    grain = rng.normal(0, rng.uniform(1, 6), size=(SIZE, SIZE, 1)) + rng.normal(0, 1.5, size=canvas.shape)
    return np.clip(np.rint(blurred + grain), 0, 255).astype(np.uint8)


def compose(cutouts: Sequence[Cutout], *, rng: np.random.Generator) -> Scene:
    """Make one image from its cut-outs."""
    layers = place(cutouts, rng=rng)
    canvas = background(rng)
    for layer in layers:
        opacity = layer.opacity[..., None]
        canvas = canvas * (1 - opacity) + layer.colours * opacity

    instances = instance_map(layers)
    mask = np.where(instances == VOID, VOID, 0).astype(np.uint8)
    annotations = []
    for number, (cutout, layer) in enumerate(zip(cutouts, layers, strict=True), start=1):
        region = instances == number
        mask[region] = CLASSES.index(cutout.label) + 1
        truncated = int(layer.solid.sum()) < layer.area
        annotations.append(
            Annotation(label=cutout.label, stamp=cutout.path, truncated=truncated, box=bounding_box(region))
        )
    return Scene(image=photograph(canvas, rng=rng), mask=mask, annotations=annotations)


# --------------------------------------------------------------------------------------------------------- files


def voc_palette() -> list[int]:
    """Return the VOC colour map, flat: the bits of the index spread over the high bits of red, green and blue."""
    return [
        sum(((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8))
        for index in range(256)
        for channel in range(3)
    ]


def annotation_xml(name: str, annotations: Sequence[Annotation]) -> str:
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


def clear(out: Path) -> None:
    """Remove the images of an earlier build, and nothing else that may lie in ``out``."""
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png"), ("Annotations", ".xml")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for stale in (out / folder).glob(f"mini_[0-9]*{suffix}"):
            stale.unlink()


def write_scene(out: Path, name: str, scene: Scene) -> None:
    """Write the three files of an image."""
    Image.fromarray(scene.image).save(out / "JPEGImages" / f"{name}.jpg", quality=JPEG_QUALITY, optimize=True)
    mask = Image.fromarray(scene.mask).convert("P")
    mask.putpalette(voc_palette())
    mask.save(out / "SegmentationClass" / f"{name}.png", optimize=True)
    (out / "Annotations" / f"{name}.xml").write_text(annotation_xml(name, scene.annotations), encoding="utf-8")


def write_lists(out: Path, names: Mapping[str, Sequence[str]]) -> None:
    """Write the class list and the image lists of the splits."""
    (out / "classes.txt").write_text("".join(f"{label}\n" for label in CLASSES), encoding="utf-8")
    lists = {**names, "trainval": sorted(name for split in names.values() for name in split)}
    for folder in ("Segmentation", "Main"):
        (out / "ImageSets" / folder).mkdir(parents=True, exist_ok=True)
        for split, members in lists.items():
            text = "".join(f"{name}\n" for name in members)
            (out / "ImageSets" / folder / f"{split}.txt").write_text(text, encoding="utf-8")


def build(*, stamps: Path, out: Path, seed: int = 0, splits: Mapping[str, int] = SPLITS) -> dict[str, Counter[str]]:
    """Build the data set in ``out`` and return the number of objects per class of every split."""
    cutouts = load_cutouts(stamps)
    clear(out)
    names: dict[str, list[str]] = {}
    counts: dict[str, Counter[str]] = {}
    first = 1
    for code, (split, images) in enumerate(splits.items()):
        plan = plan_split(cutouts[split], images=images, rng=np.random.default_rng([seed, code]))
        names[split] = [f"mini_{number:06d}" for number in range(first, first + images)]
        counts[split] = Counter(cutout.label for chosen in plan for cutout in chosen)
        # From 1: numpy pads a seed with zeros, so that index 0 would repeat the random numbers of the plan.
        for index, (name, chosen) in enumerate(zip(names[split], plan, strict=True), start=1):
            write_scene(out, name, compose(chosen, rng=np.random.default_rng([seed, code, index])))
        log.info("%s: %d images", split, images)
        first += images
    write_lists(out, names)
    return counts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True, metavar="DIR", help="folder of the Tux Paint stamps")
    parser.add_argument("--out", type=Path, default=Path("data/mini_voc"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        counts = build(stamps=options.stamps, out=options.out, seed=options.seed)
    except BuildError as error:
        print(f"build_mini_voc: {error}", file=sys.stderr)
        return 2
    for split, labels in counts.items():
        print(f"{split}: " + ", ".join(f"{label} {labels[label]}" for label in CLASSES))
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
