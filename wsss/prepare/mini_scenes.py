"""Scenes of mini_voc: photographic cut-outs on procedural backgrounds, and the labels that follow from them.

Random numbers are drawn in a fixed order: the same generator gives the same pixels under the same numpy and Pillow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsss.errors import InputError
from wsss.labels import VOID

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]

SIZE = 160
# Longest side of an object, as a share of the image's side, by the number of objects in the image.
OBJECT_SCALES: Mapping[int, tuple[float, float]] = {1: (0.45, 0.75), 2: (0.38, 0.62), 3: (0.35, 0.52)}
MIN_VISIBLE_SHARE = 0.5
MIN_VISIBLE_PIXELS = 150
PLACE_ATTEMPTS = 200


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One stamp: its class, its path below the stamps folder, and its trimmed RGBA picture."""

    label: str
    path: str
    picture: Image.Image


def trim(picture: Image.Image) -> Image.Image:
    """Convert to RGBA and cut away the border that is (almost) transparent."""
    rgba = picture.convert("RGBA")
    return rgba.crop(rgba.getchannel("A").point([0] * 16 + [255] * 240).getbbox())


def _power_noise(rng: np.random.Generator, *, slope: float, size: int = SIZE) -> Floats:
    """Draw a field of zero mean and unit deviation whose spectrum's amplitude falls as 1 / frequency ** slope."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    waves = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    field = np.fft.irfft2(waves * frequency**-slope, s=(size, size))
    return field / field.std()


def _colour_noise(rng: np.random.Generator, *, slope: float, strength: float) -> Floats:
    """Draw noise of `strength` grey levels that is mostly shared by the channels, with a little colour of its own."""
    shared = _power_noise(rng, slope=slope)[..., None]
    own = np.stack([_power_noise(rng, slope=slope) for _ in range(3)], axis=-1)
    return strength * (shared + rng.uniform(0.1, 0.6) * own)


def _gradient(rng: np.random.Generator, *, start: Floats, end: Floats) -> Floats:
    """Blend two colours along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) - 0.5
    share = np.clip(np.cos(angle) * x + np.sin(angle) * y + 0.5, 0, 1)[..., None]
    return start * (1 - share) + end * share


def _draw_colour(rng: np.random.Generator) -> Floats:
    """Draw a colour at random, more often a muted one than a loud one."""
    grey, tint = rng.uniform(40, 215), rng.normal(0, 38, size=3)
    return np.clip(grey + tint, 0, 255)


def _background(rng: np.random.Generator) -> Floats:
    """Draw a background: a gradient under 1/f noise of random slope and strength."""
    canvas = _gradient(rng, start=_draw_colour(rng), end=_draw_colour(rng))
    canvas += _colour_noise(rng, slope=rng.uniform(0.6, 2.0), strength=rng.uniform(6, 30))
    return np.clip(canvas, 0, 255)


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


def _jitter_colours(colours: Floats, *, opaque: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Change brightness, contrast, saturation and hue mildly."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    hue, saturation = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(0.75, 1.2)
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
    toned = colours @ (np.linalg.inv(to_yiq) @ turn @ to_yiq).T
    mean = toned[opaque].mean(axis=0)
    return np.clip((toned - mean) * rng.uniform(0.8, 1.15) + mean * rng.uniform(0.8, 1.2), 0, 255)


def _make_sprite(cutout: Cutout, *, longest: float, rng: np.random.Generator) -> Sprite:
    """Flip, turn, resize (the longest side becomes `longest` pixels) and recolour a cut-out."""
    picture = cutout.picture
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    # Pillow turns and resizes RGBA with the colours weighted by alpha, so no dark fringe creeps in.
    picture = trim(picture.rotate(rng.uniform(-20, 20), resample=Image.Resampling.BICUBIC, expand=True))
    factor = longest / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS), dtype=float)
    opacity = pixels[..., 3] / 255
    colours = _jitter_colours(pixels[..., :3], opaque=opacity >= 0.5, rng=rng)
    return Sprite(colours=colours, opacity=opacity)


def _lay(sprite: Sprite, *, rng: np.random.Generator) -> Layer:
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


def _all_visible(layers: Sequence[Layer]) -> bool:
    """Say whether enough is seen of every object."""
    seen = np.bincount(instance_map(layers).ravel(), minlength=VOID + 1)[1 : len(layers) + 1]
    needed = [max(MIN_VISIBLE_PIXELS, MIN_VISIBLE_SHARE * layer.area) for layer in layers]
    return bool(np.all(seen >= needed))


def _place(cutouts: Sequence[Cutout], *, rng: np.random.Generator) -> list[Layer]:
    """Place the cut-outs one over the other, trying again until enough is seen of each."""
    scales = OBJECT_SCALES[len(cutouts)]
    layers: list[Layer] = []
    for cutout in cutouts:
        for _ in range(PLACE_ATTEMPTS):
            layer = _lay(_make_sprite(cutout, longest=rng.uniform(*scales) * SIZE, rng=rng), rng=rng)
            if _all_visible([*layers, layer]):
                layers.append(layer)
                break
        else:
            raise InputError(f"found no place where enough of {cutout.path} is seen in {PLACE_ATTEMPTS} attempts")
    return layers


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


def _bounding_box(region: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box round a region, 1-based and inclusive."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(columns[0]) + 1, int(rows[0]) + 1, int(columns[-1]) + 1, int(rows[-1]) + 1


def _photograph(canvas: Floats, *, rng: np.random.Generator) -> Labels:
    """Give the whole picture one light, one focus and one grain, so that pasted objects do not stand out by theirs."""
    lit = canvas * (1 + rng.uniform(0.0, 0.12) * _power_noise(rng, slope=2.0))[..., None]
    focus = rng.uniform(0.2, 0.8)
    blurred = ndimage.gaussian_filter(lit, sigma=(focus, focus, 0))
    grain = rng.normal(0, rng.uniform(1, 6), size=(SIZE, SIZE, 1)) + rng.normal(0, 1.5, size=canvas.shape)
    return np.clip(np.rint(blurred + grain), 0, 255).astype(np.uint8)


def compose(cutouts: Sequence[Cutout], *, classes: Sequence[str], rng: np.random.Generator) -> Scene:
    """Make one image from its cut-outs; `classes` are in the order of their labels, from 1."""
    layers = _place(cutouts, rng=rng)
    canvas = _background(rng)
    for layer in layers:
        opacity = layer.opacity[..., None]
        canvas = canvas * (1 - opacity) + layer.colours * opacity

    instances = instance_map(layers)
    mask = np.where(instances == VOID, VOID, 0).astype(np.uint8)
    annotations = []
    for number, (cutout, layer) in enumerate(zip(cutouts, layers, strict=True), start=1):
        region = instances == number
        mask[region] = classes.index(cutout.label) + 1
        truncated = int(layer.solid.sum()) < layer.area
        annotations.append(
            Annotation(label=cutout.label, stamp=cutout.path, truncated=truncated, box=_bounding_box(region))
        )
    return Scene(image=_photograph(canvas, rng=rng), mask=mask, annotations=annotations)
