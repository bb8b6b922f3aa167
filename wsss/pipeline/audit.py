"""What the pseudo-masks of a run are like: tables of classes and images, and the images to look at first."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import delayed
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsss.data import VOID, check_masks, read_mask
from wsss.masks import require_backend
from wsss.metrics import ErrorSplit, activation, agreement, confusion_matrix, error_split, iou, robust_scores, scores
from wsss.pipeline.make_masks import masks_step
from wsss.pipeline.make_seeds import seed_threshold
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.mask_maker import MaskMaker, engine, mask_maker, one_thread, run_tasks
from wsss.pipeline.refine_seeds import source_of_masks
from wsss.pipeline.run import Run
from wsss.pipeline.tables import VOID_POLICY
from wsss.pipeline.train_segmenter import mask_lesson, require_masks
from wsss.report import write_audit_page
from wsss.writing import write_csv, write_json

log = logging.getLogger(__name__)

AGREEMENTS = {"seed_mask": "seeds and mask", "seed_crf": "seeds and a CRF over them", "crf_mask": "that CRF and mask"}
TRUE_FIGURES = ("iou", "precision", "recall", "over", "under")
OUTLIER = 3.5  # robust standard deviations from the median area of a class (Iglewicz & Hoaglin, 1993)
NUM_WORST = 12
MAX_ROWS = 60  # classes that the terminal shows


class ImageAudit(NamedTuple):
    """What is known of one image's mask.

    Attributes:
        image: its id.
        classes: its classes, zero-based.
        areas: share of the image that each of them has in the mask.
        coverage: share of the pixels that are not void.
        seed_mask: share of pixels that seeds, at their threshold, and mask label alike.
        seed_crf: the same of the seeds and a CRF over them.
        crf_mask: the same of that CRF and the mask.
        confusion: counts (L, L + 1) against the truth; None without one.
    """

    image: str
    classes: list[int]
    areas: list[float]
    coverage: float
    seed_mask: float
    seed_crf: float
    crf_mask: float
    confusion: NDArray[np.int64] | None

    @property
    def erased(self) -> list[int]:
        """Classes that the image has and its mask has not."""
        return [c for c, area in zip(self.classes, self.areas, strict=True) if not area]

    @property
    def miou(self) -> float | None:
        """Percent, over the labels of truth and mask."""
        return None if self.confusion is None else 100 * float(iou(self.confusion).mean)


class Audit(NamedTuple):
    """Figures of all masks, rows of classes and images, ids of the images to look at first, the worst of them first."""

    summary: dict[str, Any]
    classes: list[dict[str, Any]]
    images: list[dict[str, Any]]
    worst: list[str]

    @property
    def worst_rows(self) -> list[dict[str, Any]]:
        """Rows of the images to look at first."""
        by_id = {row["image"]: row for row in self.images}
        return [by_id[image_id] for image_id in self.worst]


def audit_masks(run: Run) -> Audit:
    """Look at the masks; writes `audit/audit.json`, `classes.csv`, `images.csv` and `index.html`, and prints the gist.

    Raises:
        InputError: if a mask is missing.
    """
    require_backend(run.config.masks.crf)
    lesson = mask_lesson(run)
    masks = lesson.folder
    if lesson.inputs:  # the run's own
        if not masks_step(run).is_finished:
            log.warning("%s: not made of these seeds with these options; the seeds are compared all the same", masks)
        require_masks(run, masks)
    check_masks(run.data, run.train_ids, masks)
    audited = _look(run, masks)
    audit = summarize(run, audited)
    protocol = run.stamp(
        audited=lesson.trained_on,
        split=run.config.data.train,
        images=len(audited),
        void=VOID_POLICY,
        crf=f"{run.config.masks.crf.iterations} iterations",
    )
    folder = run.folder / "audit"
    write_json(folder / "audit.json", {"protocol": protocol, **audit._asdict()})
    for name, rows in (("classes", audit.classes), ("images", audit.images)):
        write_csv(folder / f"{name}.csv", list(rows[0]), [tuple(map(_cell, row.values())) for row in rows])
    worst = {row["image"]: row["reasons"] for row in audit.worst_rows}
    write_audit_page(
        run.folder, run.data, masks, protocol=protocol, summary=audit.summary, classes=audit.classes, worst=worst
    )
    _print(run, audit)
    log.info("wrote %s", folder / "index.html")
    return audit


def _look(run: Run, masks: Path) -> list[ImageAudit]:
    """Audit every train image, with the seeds at the threshold that the run's masks were cut at."""
    maker = replace(mask_maker(run, source_of_masks(run)), kind="crf")
    manifest = run.folder / "masks" / "manifest.json"
    threshold = read_manifest(manifest)["figures"].get("masks/threshold") if manifest.exists() else None
    threshold = seed_threshold(run, maker.seeds) if threshold is None else threshold
    scored = {*run.score_ids} if run.has_train_truth else set()
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    tasks = [
        delayed(audit_image)(maker, i, rows[i].nonzero().flatten().tolist(), threshold, masks, i in scored)
        for i in run.train_ids
    ]
    with engine(run.config.masks):
        return list(run_tasks(run, maker, tasks, "audit"))


def audit_image(
    maker: MaskMaker, image_id: str, classes: list[int], threshold: float, masks: Path, has_truth: bool
) -> ImageAudit:
    """Audit one image; in a process of its own perhaps."""
    mask = read_mask(masks / f"{image_id}.png")
    with one_thread():
        seed = replace(maker, kind="threshold")([image_id], [threshold])[0][0]
        crf = maker([image_id], [threshold])[0][0]
    counts = np.bincount(mask.ravel(), minlength=256)
    num_labels = maker.data.num_classes + 1
    confusion = confusion_matrix(read_mask(maker.data.mask_path(image_id)), mask, num_labels) if has_truth else None
    return ImageAudit(
        image_id,
        classes,
        [float(counts[c + 1] / mask.size) for c in classes],
        float(1 - counts[VOID] / mask.size),
        agreement(seed, mask),
        agreement(seed, crf),
        agreement(crf, mask),
        confusion if confusion is not None and confusion.any() else None,  # a truth that is void says nothing
    )


def _print(run: Run, audit: Audit) -> None:
    """What matters, on a screen."""
    console = Console(highlight=False, soft_wrap=True)
    has_truth = "miou" in audit.summary
    columns = ["class", "images", "erased", "outliers", *(TRUE_FIGURES if has_truth else ("median_area", "seed_mask"))]
    table = Table(*(name.replace("_", " ") for name in columns), title=Text(f"masks of {run.config.run}"))
    for row in audit.classes[:MAX_ROWS]:
        table.add_row(*(Text("" if row[name] is None else str(row[name])) for name in columns))
    if len(audit.classes) > MAX_ROWS:
        table.add_row(f"and {len(audit.classes) - MAX_ROWS} more in classes.csv", *("" for _ in columns[1:]))
    console.print(table)
    for name, value in audit.summary.items():
        console.print(f"{name.replace('_', ' ')}: {value}", markup=False)
    console.print("look at these first:")
    for row in audit.worst_rows:
        told = ([] if row["miou"] is None else [f"mIoU {row['miou']}"]) + row["reasons"]
        console.print(f"  {row['image']}: {'; '.join(told) or 'nothing odd'}", markup=False)


def summarize(run: Run, audited: Sequence[ImageAudit]) -> Audit:
    """Tables of what was seen of each image."""
    outliers = area_outliers(audited)
    low = {name: _low([getattr(one, name) for one in audited]) for name in AGREEMENTS}
    images = [_image_row(run, one, outliers.get(one.image, {}), low) for one in audited]
    classes = [_class_row(run, index, audited, outliers) for index in range(run.data.num_classes)]
    counts = [one.confusion for one in audited if one.confusion is not None]
    summary: dict[str, Any] = {
        "images": len(audited),
        "coverage": round(float(np.mean([one.coverage for one in audited])), 4),
        **{name: round(float(np.mean([getattr(one, name) for one in audited])), 4) for name in AGREEMENTS},
        "erased": sum(len(one.erased) for one in audited),
        "outliers": sum(len(of_image) for of_image in outliers.values()),
    }
    if counts:
        confusion = np.sum(counts, axis=0)
        for row, figures in zip(classes, _true_figures(confusion)[1:], strict=True):
            row |= figures
        split = {name: round(share, 4) for name, share in error_split(confusion)._asdict().items()}
        summary |= {"scored": len(counts), "miou": round(100 * float(iou(confusion).mean), 2), **split}
    scored = [row for row in classes if row["iou"] is not None]
    seen = scored or [row for row in classes if row["images"]]
    weakest = min(seen, key=_strength, default=None)
    summary["weakest_class"] = None if weakest is None else weakest["class"]
    return Audit(summary, classes, images, [row["image"] for row in sorted(images, key=_doubt)[:NUM_WORST]])


def area_outliers(audited: Sequence[ImageAudit]) -> dict[str, dict[int, float]]:
    """Image -> class -> share of the image, where that lies far from what the class has in other masks."""
    areas: dict[int, dict[str, float]] = {}
    for one in audited:
        for index, area in zip(one.classes, one.areas, strict=True):
            if area:
                areas.setdefault(index, {})[one.image] = area
    found: dict[str, dict[int, float]] = {}
    for index, of_class in areas.items():
        far = np.abs(robust_scores(np.log([*of_class.values()]))) > OUTLIER  # areas spread by factors
        for image_id, area in (item for item, is_far in zip(of_class.items(), far, strict=True) if is_far):
            found.setdefault(image_id, {})[index] = area
    return found


def _low(values: Sequence[float]) -> float:
    """What an agreement must lie below to be told of."""
    scores_of = robust_scores(np.array(values))
    return max((v for v, s in zip(values, scores_of, strict=True) if s < -OUTLIER), default=-1.0)


def _image_row(run: Run, one: ImageAudit, outliers: dict[int, float], low: dict[str, float]) -> dict[str, Any]:
    names = run.data.classes
    reasons = [f"no {names[c]} in the mask" for c in one.erased]
    reasons += [f"{names[c]} has {area:.2%} of the image, unlike elsewhere" for c, area in outliers.items()]
    reasons += [
        f"{AGREEMENTS[n]} agree on {getattr(one, n):.0%}" for n, bound in low.items() if getattr(one, n) <= bound
    ]
    split = {} if one.confusion is None else {k: round(v, 4) for k, v in error_split(one.confusion)._asdict().items()}
    true = {} if one.miou is None else {"miou": round(one.miou, 2), **split}
    return {
        "image": one.image,
        "classes": [names[c] for c in one.classes],
        **(dict.fromkeys(("miou", *ErrorSplit._fields)) | true),
        "coverage": round(one.coverage, 4),
        **{name: round(getattr(one, name), 4) for name in AGREEMENTS},
        "erased": [names[c] for c in one.erased],
        "outliers": [names[c] for c in outliers],
        "reasons": reasons,
    }


def _class_row(
    run: Run, index: int, audited: Sequence[ImageAudit], outliers: dict[str, dict[int, float]]
) -> dict[str, Any]:
    of_class = [one for one in audited if index in one.classes]
    areas = [one.areas[one.classes.index(index)] for one in of_class]
    return {
        "class": run.data.classes[index],
        "images": len(of_class),
        "erased": areas.count(0.0),
        "outliers": sum(index in of_image for of_image in outliers.values()),
        "median_area": round(float(np.median(areas)), 4) if areas else None,
        "seed_mask": round(float(np.mean([one.seed_mask for one in of_class])), 4) if of_class else None,
        **dict.fromkeys(TRUE_FIGURES),
    }


def _true_figures(confusion: NDArray[np.int64]) -> list[dict[str, float | None]]:
    """Figures of each label against the truth, in percent; over and under in percent of its true pixels."""
    found, wrong = scores(confusion), activation(confusion)
    figures = (found.iou, found.precision, found.accuracy, wrong.over, wrong.under)
    columns = dict(zip(TRUE_FIGURES, figures, strict=True))
    return [
        {name: None if np.isnan(values[i]) else round(100 * float(values[i]), 2) for name, values in columns.items()}
        for i in range(len(confusion))
    ]


def _strength(row: dict[str, Any]) -> tuple[float, float]:
    """Low for a class whose masks are bad: by its IoU, without truth by how often it is erased and by agreement."""
    if row["iou"] is not None:
        return row["iou"], 0.0
    return -row["erased"] / row["images"], row["seed_mask"]


def _doubt(row: dict[str, Any]) -> tuple[float, ...]:
    """Low for a mask to look at first: by its mIoU, without truth by what is odd about it."""
    if row["miou"] is not None:
        return (row["miou"],)
    return 1000.0 - len(row["erased"]), -len(row["outliers"]), row["seed_mask"]


def _cell(value: object) -> object:
    """A value as a table has it."""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else value
