"""What a run left in its folder. A part that is missing reads as empty; one that is broken is also noted."""

import csv
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss.data import read_mask
from wsss.reading import read_figures, read_json
from wsss.report.plots import Curve, Training
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

    def trainings(self) -> dict[str, Training]:
        """What each training step logged, in the order of the steps; of one that was interrupted, all its parts."""
        found = {}
        for step in sorted(self.folders("."), key=lambda name: (not name.startswith(("classifier", "recam")), name)):
            parts = sorted((self.folder / step / "metrics").glob("version_*"), key=lambda path: (len(path.name), path))
            logged: dict[str, dict[float, float]] = {}
            for part in parts:
                table = self._read(str((part / "metrics.csv").relative_to(self.folder)), _read_log) or {}
                for name, points in table.items():
                    logged.setdefault(name, {}).update(points)
            if logged:
                found[step] = _training(logged)
        return found

    def environment(self) -> dict[str, Any]:
        """What the newest step was run with, and by which command."""
        return self._read("environment.json", read_json) or {}

    def audit(self) -> dict[str, Any]:
        """What an audit of the masks found: `summary`, rows of `classes`, `worst` images; empty without one."""
        found = self._read("audit/audit.json", _read_audit)
        return found | {"classes": self._read("audit/classes.csv", _read_rows) or []} if found else {}

    def sweep_pictures(self) -> list[Path]:
        """Pictures of the sweep that the run is of, the heat map first."""
        sweep = self.folder.parent
        if not (sweep / "sweep.json").is_file():
            return []
        return [*sweep.glob("heat_map.png"), *sorted(sweep.glob("over_*.png"))]

    def config(self) -> str:
        """The resolved config as it was written."""
        return self._read("config.yaml", Path.read_text) or ""

    def seeds(self, folder: str, image_id: str) -> Seeds | None:
        """Maps of one image, from `seeds`, `seeds/maps/<kind>` or `refined`."""
        return self._read(f"{folder}/{image_id}.npz", load_seeds)

    def labels(self, folder: str, image_id: str) -> NDArray[np.uint8] | None:
        """A label map of one image, from `masks` or `segmenter/predictions`."""
        return self._read(f"{folder}/{image_id}.png", read_mask)

    def folders(self, name: str) -> list[str]:
        """Names of the folders in one of the run's."""
        return sorted(path.name for path in (self.folder / name).glob("*") if path.is_dir())

    def ids(self, *folders: str) -> set[str]:
        """Ids of the images that have a file in any of the folders, or in a folder within, as their photographs."""
        return {
            path.relative_to(self.folder / name).with_suffix("").as_posix()
            for name in folders
            for path in (self.folder / name).rglob("*.*")
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


def _read_audit(path: Path) -> dict[str, Any]:
    found = read_json(path)
    return {"summary": dict(found["summary"]), "worst": list(found["worst"])}


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_table(path: Path) -> list[dict[str, str]]:
    rows = _read_rows(path)
    for row in rows:
        if not (math.isfinite(float(row["threshold"])) and math.isfinite(float(row["miou"]))):
            raise ValueError(f"threshold {row['threshold']}, mIoU {row['miou']}")
        row.setdefault("kind", "mask")
    return rows


def _read_iou(path: Path) -> dict[str, float]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["label"]: float(row["iou"] or math.nan) for row in csv.DictReader(file)}


def _read_log(path: Path) -> dict[str, dict[float, float]]:
    """Name -> training step -> value, of Lightning's table, which leaves cells empty."""
    logged: dict[str, dict[float, float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if "/" in name and value:
                    logged.setdefault(name, {})[float(row["step"])] = float(value)
    return logged


def _training(logged: dict[str, dict[float, float]]) -> Training:
    """Losses and the figures of val, the latter in percent."""
    curves = {name: sorted(points.items()) for name, points in logged.items()}
    losses = {name.removeprefix("train/"): curve for name, curve in curves.items() if name.startswith("train/")}
    scores = {}
    for name, unit in (("val/map", 100), ("val/miou", 1)):
        if name in curves:
            scores[name] = [(step, unit * value) for step, value in curves[name]]
    return Training(losses, scores)


def _curve(rows: list[dict[str, str]]) -> Curve:
    points = sorted((float(row["threshold"]), float(row["miou"])) for row in rows)
    return Curve([threshold for threshold, _ in points], [miou for _, miou in points])
