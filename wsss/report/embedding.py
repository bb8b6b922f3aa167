"""Pictures and records inside a page: as small as they can be, and read by the browser only when they are shown."""

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from wsss.report.gallery import GalleryRow
from wsss.report.overlays import LegendEntry

PREFIX = "data:image/webp;base64,"


class Picture(NamedTuple):
    """A layer ready for the page; `data` follows `PREFIX`."""

    column: str
    data: str
    alt: str


class PageRow(NamedTuple):
    """A gallery row ready for the page: the photograph, and what lies over it, in order."""

    image_id: str
    classes: list[int]
    width: int
    height: int
    photograph: Picture
    layers: list[Picture]


def page_row(row: GalleryRow, names: Sequence[str]) -> PageRow:
    """Encode a row; `names` are the data set's classes."""
    height, width = row.photograph.shape[:2]

    def told(what: str, classes: Sequence[int]) -> str:
        known = (names[i] if i < len(names) else f"label {i + 1}" for i in classes)
        return f"{what} {row.image_id}: {', '.join(known) or 'no class'}"

    return PageRow(
        *(row.image_id, row.classes, width, height),
        Picture("image", _webp(row.photograph, quality=80), told("photograph", row.classes)),
        [
            Picture(
                column,
                _webp(layer.picture, quality=75) if layer.is_map else _webp(layer.picture, lossless=True),
                told(f"{column} of", layer.classes),
            )
            for column, layer in row.layers.items()
        ],
    )


def index_json(rows: Sequence[PageRow], scores: Mapping[str, float], legend: Sequence[LegendEntry]) -> Markup:
    """What the page's script sorts and filters by: id, classes and score (None where there is no truth) of each row."""
    content = {
        "prefix": PREFIX,
        "classes": [entry._asdict() for entry in legend],
        "rows": [
            {"id": row.image_id, "classes": row.classes, "score": _rounded(scores.get(row.image_id))} for row in rows
        ],
    }
    return htmlsafe_json_dumps(content)


def picture_lines(rows: Iterable[PageRow]) -> Iterator[Markup]:
    """One line of JSON for the pictures of each row, which the script parses when the row is shown."""
    for row in rows:
        content = {
            "size": [row.width, row.height],
            "photograph": row.photograph[1:],
            "layers": {picture.column: picture[1:] for picture in row.layers},
        }
        yield htmlsafe_json_dumps(content, dumps=_compact)


def _compact(content: object, **_: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _webp(pixels: NDArray[np.uint8], **options: object) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="WEBP", method=2, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
