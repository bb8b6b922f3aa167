"""What a run left in its folder. A part that is missing reads as empty; one that is broken is also noted."""

import csv
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss.data import read_mask
from wsss.reading import read_figures, read_json
from wsss.report.plots import Curve
from wsss.seeds import Seeds, load_seeds

T = TypeVar("T")

log = logging.getLogger(__name__)


class RunFiles:
    """Reader of `outputs/<run>/`.

    Args:
        folder: the run's folder.

    Attributes:
        notes: one line for each part that could not be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes: list[str] = []

    def results(self) -> dict[str, float]:
        """Figures of the run; what is not a finite number is left out."""
        return self._read("results.json", read_figures) or {}

    def protocols(self) -> dict[str, dict[str, object]]:
        """Protocol of each figure."""
        found = self._read("protocols.json", read_json) or {}
        return {key: value for key, value in found.items() if isinstance(value, dict)}

    def seed_curves(self) -> dict[str, Curve]:
        """Threshold curves by kind of map, the default seed's first."""
        rows = self._read("seeds/curve.csv", _read_table) or []
        kinds = sorted({row["kind"] for row in rows}, key=lambda kind: (kind != "seed", kind))
        return {kind: _curve([row for row in rows if row["kind"] == kind]) for kind in kinds}

    def mask_curve(self) -> Curve | None:
        """Threshold curve of the pseudo-masks."""
        rows = self._read("masks/curve.csv", _read_table)
        return _curve(rows) if rows else None

    def iou_tables(self) -> dict[str, dict[str, float]]:
        """IoU per label of seeds, masks and segmenter, percent; NaN where a label was absent."""
        names = {"seeds": "seeds, train", "masks": "pseudo-masks, train", "segmenter": "segmenter, val"}
        tables = {names[step]: self._read(f"{step}/iou.csv", _read_iou) for step in names}
        return {name: table for name, table in tables.items() if table}

    def config(self) -> str:
        """The resolved config as it was written."""
        return self._read("config.yaml", Path.read_text) or ""

    def seeds(self, image_id: str, kind: str | None = None) -> Seeds | None:
        """Maps of one image: of one kind, or the default seed."""
        return self._read(f"seeds/{image_id}.npz" if kind is None else f"seeds/maps/{kind}/{image_id}.npz", load_seeds)

    def labels(self, folder: str, image_id: str) -> NDArray[np.uint8] | None:
        """A label map of one image, from `masks` or `segmenter/predictions`."""
        return self._read(f"{folder}/{image_id}.png", read_mask)

    def ids(self, *folders: str) -> set[str]:
        """Ids of the images that have a file in any of the folders."""
        return {
            path.stem
            for name in folders
            for path in (self.folder / name).glob("*.*")
            if path.suffix in (".npz", ".png")
        }

    def note(self, text: str) -> None:
        """Remember, and warn, that something is left out."""
        self.notes.append(text)
        log.warning("left out of the report: %s", text)

    def _read(self, name: str, reader: Callable[[Path], T]) -> T | None:
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            return reader(path)
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:  # InputError is a ValueError
            self.note(f"{name} ({type(error).__name__}: {error})")
            return None


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not (math.isfinite(float(row["threshold"])) and math.isfinite(float(row["miou"]))):
            raise ValueError(f"threshold {row['threshold']}, mIoU {row['miou']}")
        row.setdefault("kind", "mask")
    return rows


def _read_iou(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["label"]: float(row["iou"] or math.nan) for row in csv.DictReader(file)}


def _curve(rows: list[dict[str, str]]) -> Curve:
    points = sorted((float(row["threshold"]), float(row["miou"])) for row in rows)
    return Curve([threshold for threshold, _ in points], [miou for _, miou in points])
