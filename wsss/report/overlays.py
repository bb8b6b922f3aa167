"""Maps and labels drawn over photographs; pure functions of arrays."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from wsss.data import VOID, palette

RGB = NDArray[np.uint8]
RGBA = NDArray[np.uint8]
VOID_COLOR = (224, 224, 224)
HATCH_COLOR = (255, 255, 255)
HATCH_PERIOD = 6


class LegendEntry(NamedTuple):
    """What a colour of an overlay means; `color` is CSS (`#rrggbb`)."""

    name: str
    color: str


def heatmap_overlay(image: RGB, map: NDArray[np.floating], *, alpha: float = 0.5) -> RGB:
    """Lay one map over a photograph, dark where it is 0 and glowing where it is 1 (matplotlib's inferno).

    Args:
        image: (H, W, 3) uint8.
        map: (H, W), values in [0, 1].
        alpha: share of the map's colour in every pixel, 0 to 1.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the shapes disagree.
    """
    _check(image, map.shape, alpha)
    colors = matplotlib.colormaps["inferno"](np.clip(map, 0, 1))[..., :3] * 255  # (H, W, 3)
    return _to_uint8((1 - alpha) * image + alpha * colors)


def signed_picture(values: NDArray[np.floating]) -> RGB:
    """Draw values of both signs centred on grey: 0 is grey, and three standard deviations from it are black or white.

    Args:
        values: (H, W, 3), such as a gradient of the pixels.

    Returns:
        (H, W, 3) uint8.
    """
    spread = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
    return _to_uint8(127.5 + 127.5 * values / (3 * spread or 1.0))


def class_heatmap_layer(
    maps: NDArray[np.floating], classes: Sequence[int] | NDArray[np.integer], *, alpha: float = 0.85
) -> RGBA:
    """The maps of several classes, each in its class's colour, to lie over a paled photograph of any size.

    A pixel takes the colour of its highest map; the higher the score, the more of the photograph it covers.

    Args:
        maps: (K, h, w), values in [0, 1]; K may be 0.
        classes: K zero-based class ids.
        alpha: opacity where a map is 1.

    Returns:
        (h, w, 4) uint8, opacity last.

    Raises:
        ValueError: if the shapes disagree.
    """
    if maps.ndim != 3 or len(maps) != len(classes):
        raise ValueError(f"expected maps (K, H, W) for K = {len(classes)} classes, got {maps.shape}")
    layer = np.zeros((*maps.shape[1:], 4), np.uint8)
    if len(maps):
        # Brighter than the palette, whose darker half is hard to see in a pale wash of colour.
        colors = _to_uint8(palette()[np.asarray(classes, np.int64) + 1] * 1.6)  # (K, 3)
        layer[..., :3] = colors[maps.argmax(axis=0)]
        layer[..., 3] = _to_uint8(255 * alpha * np.clip(maps.max(axis=0), 0, 1))
    return layer


def with_boxes(image: RGB, boxes: Sequence[Sequence[int]] | NDArray[np.integer], color: Sequence[int]) -> RGB:
    """Draw boxes x0, y0, x1, y1, their ends exclusive, into a picture; lines lie inside them."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    width = max(max(picture.size) // 100, 1)
    for x0, y0, x1, y1 in np.asarray(boxes).reshape(-1, 4).tolist():
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=tuple(color), width=width)
    return np.array(picture)


def label_overlay(image: RGB, labels: NDArray[np.uint8], *, alpha: float = 0.6) -> RGB:
    """Lay a label map over a photograph in VOC's colours, regions outlined.

    Background shows the photograph; under a label it turns grey, so that colours stay what the legend says. Void is
    light grey, hatched in white.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) uint8, 0 background, 255 void.
        alpha: share of the colour inside a region; its outline is opaque.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: if the shapes disagree.
    """
    _check(image, labels.shape, alpha)
    layer = label_layer(labels, alpha=alpha)
    return over(greyed(image, layer), layer)


def label_layer(labels: NDArray[np.uint8], *, alpha: float = 0.6) -> RGBA:
    """The colours of `label_overlay` by themselves: background is clear, outlines are opaque.

    Args:
        labels: (H, W) uint8, 0 background, 255 void.
        alpha: opacity inside a region.

    Returns:
        (H, W, 4) uint8, opacity last.
    """
    colors = palette()
    colors[VOID] = VOID_COLOR
    void = labels == VOID
    rows, columns = np.indices(labels.shape)
    layer = np.zeros((*labels.shape, 4), np.uint8)
    layer[..., :3] = colors[labels]
    layer[void & ((rows + columns) % HATCH_PERIOD == 0), :3] = HATCH_COLOR
    layer[labels > 0, 3] = round(255 * alpha)
    layer[boundaries(labels) & (labels > 0) & ~void, 3] = 255
    return layer


def over(image: NDArray[np.floating] | RGB, layer: RGBA) -> RGB:
    """Lay a picture with opacity (h, w, 4), resized if need be, over an opaque one (H, W, 3)."""
    height, width = image.shape[:2]
    if layer.shape[:2] != (height, width):
        layer = np.asarray(Image.fromarray(layer).resize((width, height), Image.Resampling.BILINEAR))
    weight = layer[..., 3:] / 255  # (H, W, 1)
    return _to_uint8((1 - weight) * image + weight * layer[..., :3])


def greyed(image: RGB, layer: RGBA) -> NDArray[np.floating]:
    """A photograph (H, W, 3) without its colours where a layer of its size has some."""
    return np.where(layer[..., 3:] > 0, image.mean(axis=-1, keepdims=True), image)


def paled(image: RGB) -> NDArray[np.floating]:
    """A photograph (H, W, 3) in light greys, on which pale colours are seen."""
    return np.repeat(90 + 0.6 * image.mean(axis=-1, keepdims=True), 3, axis=-1)


def boundaries(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels (H, W) with a neighbour above, below, left or right of another label."""
    edge = np.zeros(labels.shape, bool)
    vertical, horizontal = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= vertical
    edge[:-1] |= vertical
    edge[:, 1:] |= horizontal
    edge[:, :-1] |= horizontal
    return edge


def class_legend(names: Sequence[str]) -> list[LegendEntry]:
    """Colours of the classes `names` (without background, in order), and of void last."""
    entries = [LegendEntry(name, _css(color)) for name, color in zip(names, palette()[1 : len(names) + 1], strict=True)]
    return [*entries, LegendEntry("void", _css(VOID_COLOR))]


def with_legend(picture: RGB, entries: Sequence[LegendEntry]) -> Image.Image:
    """A picture, and below it on white what the colours mean, in as many rows as that takes."""
    font_size = max(picture.shape[1] // 50, 10)
    font, gap = ImageFont.load_default(font_size), font_size // 2
    places: list[tuple[int, int]] = []
    left = row = 0
    for entry in entries:
        width = font_size + gap + ceil(font.getlength(entry.name)) + 2 * gap
        if places and left + width > picture.shape[1]:
            left, row = 0, row + 1
        places.append((left + gap, picture.shape[0] + gap + row * (font_size + gap)))
        left += width
    below = (row + 1) * (font_size + gap) + gap if entries else 0
    sheet = Image.new("RGB", (picture.shape[1], picture.shape[0] + below), "white")
    sheet.paste(Image.fromarray(picture))
    draw = ImageDraw.Draw(sheet)
    for entry, (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y, x + font_size - 1, y + font_size - 1), fill=entry.color)
        draw.text((x + font_size + gap // 2, y + font_size // 2), entry.name, fill=(30, 30, 30), font=font, anchor="lm")
    return sheet


def contact_sheet(
    rows: Sequence[Sequence[RGB | None]], titles: Sequence[str], *, cell: int = 160, gap: int = 6
) -> Image.Image:
    """Put pictures into a grid under column titles, on white.

    Args:
        rows: pictures (H, W, 3) of each row, one a column; None leaves a cell empty.
        titles: the columns' titles.
        cell: side in pixels of the square a picture is fitted into.
        gap: pixels between cells.

    Raises:
        ValueError: if a row has not one picture a title.
    """
    wrong = next((row for row in rows if len(row) != len(titles)), None)
    if wrong is not None:
        raise ValueError(f"expected {len(titles)} pictures in each row ({', '.join(titles)}), got {len(wrong)}")
    font_size = max(cell // 10, 9)
    header = font_size + 2 * gap
    pictures = [[None if p is None else _fit(p, cell) for p in row] for row in rows]
    heights = [max((p.height for p in row if p is not None), default=cell) for row in pictures]
    size = (len(titles) * (cell + gap) + gap, header + sum(heights) + gap * len(heights))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(font_size)
    for column, title in enumerate(titles):
        center = gap + column * (cell + gap) + cell // 2
        draw.text((center, header // 2), title, fill=(30, 30, 30), font=font, anchor="mm")
    top = header
    for row, height in zip(pictures, heights, strict=True):
        for column, picture in enumerate(row):
            if picture is not None:
                left = gap + column * (cell + gap) + (cell - picture.width) // 2
                sheet.paste(picture, (left, top + (height - picture.height) // 2))
        top += height + gap
    return sheet


def _fit(picture: RGB, side: int) -> Image.Image:
    """Scale a picture so that its longer side is `side` pixels."""
    image = Image.fromarray(picture)
    factor = side / max(image.size)
    if factor == 1:
        return image
    return image.resize(
        (max(round(image.width * factor), 1), max(round(image.height * factor), 1)), Image.Resampling.LANCZOS
    )


def _check(image: RGB, shape: tuple[int, ...], alpha: float) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
    if image.shape[:2] != shape:
        raise ValueError(f"expected a map of the image's size {image.shape[:2]}, got {shape}: resize it first")
    if not 0 <= alpha <= 1:
        raise ValueError(f"expected alpha in [0, 1], got {alpha}")


def _to_uint8(values: NDArray[np.floating]) -> RGB:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _css(color: Sequence[int] | NDArray[np.integer]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in color)
