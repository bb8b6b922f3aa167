"""Step `masks`: seeds, as they are or refined, to pseudo-masks, and their scores."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from joblib import delayed
from numpy.typing import NDArray

from wsss.data import VOID, read_mask
from wsss.errors import InputError
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.make_seeds import seed_protocol, seed_threshold
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.mask_maker import (
    CRF_KINDS,
    MaskMaker,
    crf_settings,
    engine,
    mask_maker,
    one_thread,
    run_tasks,
    write_masks,
)
from wsss.pipeline.processes import on_first
from wsss.pipeline.refine_seeds import refine_seeds, refined_protocol, require_crf, source_of_masks
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.tables import VOID_POLICY, write_iou, write_scores

# Background thresholds looked at where annotated images or an area choose one.
GRID = tuple(round(0.1 + 0.05 * i, 2) for i in range(15))


def masks_step(run: Run) -> Step:
    """The step's identity: its options and the seeds."""
    config = run.config.masks
    settings = asdict(config) | {"crf": crf_settings(config.crf)}
    of_seeds = ("refine", "relations", "walk", "par")
    for option in ("jobs", "backend", "scheduler", *of_seeds):
        del settings[option]
    files = [f"{image_id}.png" for image_id in run.train_ids]
    of_truth = config.annotated is not None and config.threshold is None
    return run.step("masks", {"masks": settings}, [source_of_masks(run)], files, of_truth=of_truth)


def make_masks(run: Run) -> Step:
    """Write `masks/<id>.png` for every train image and score them on the train truth if there is any."""
    config = run.config.masks
    if run.config.cam.limit_images is not None:
        raise InputError(
            "cam.limit_images: masks need the seeds of all train images; leave it out, or end with until=seeds"
        )
    require_crf(config)
    annotated = annotated_ids(run)
    refine_seeds(run)
    step = masks_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    with step.working():
        on_first(lambda: _make(run, step, annotated))
    return step


def _make(run: Run, step: Step, annotated: Sequence[str]) -> None:
    with engine(run.config.masks):
        maker = mask_maker(run, source_of_masks(run))
        threshold, source = choose_threshold(run, maker, annotated)
        write_masks(run, maker, run.train_ids, threshold, step.folder)
        at = {"threshold": round(threshold, 4), "threshold_from": source}
        made = {"split": run.config.data.train, "images": len(run.train_ids), **_protocol(run), **at}
        step.add_figure("masks/threshold", threshold, **made)
        if run.has_train_truth:
            score_ids = sorted({*run.score_ids} - {*annotated})
            _score(run, step, maker, score_ids, threshold, source)


def annotated_ids(run: Run) -> list[str]:
    """The images whose truth may choose the threshold; they are left out of the scores.

    Raises:
        InputError: if there is not enough truth.
    """
    number = run.config.masks.annotated
    if number is None:
        return []
    if not run.has_train_truth or len(run.score_ids) <= number:
        truth = len(run.score_ids) if run.has_train_truth else 0
        raise InputError(f"masks.annotated={number}: needs more than {number} train images with truth, found {truth}")
    return sorted(np.random.default_rng(run.config.seed).choice(run.score_ids, number, replace=False).tolist())


def choose_threshold(run: Run, maker: MaskMaker, annotated: Sequence[str]) -> tuple[float, str]:
    """The background threshold, and where it comes from."""
    config = run.config.masks
    if config.threshold is not None:
        return config.threshold, "given"
    if annotated:
        miou = iou(_count_all(run, maker, annotated, GRID)).mean
        best = np.flatnonzero(miou == miou.max())
        return GRID[int(best[len(best) // 2])], f"{len(annotated)} annotated images, left out"
    if config.area is not None:
        sample = run.train_ids[:: max(len(run.train_ids) // 100, 1)]
        tasks = [delayed(_areas)(maker, i, GRID) for i in sample]
        shares = np.mean([*run_tasks(run, maker, tasks, "areas")], axis=0)
        shares = np.minimum.accumulate(shares)  # foreground shrinks as the threshold rises, but for the CRF's whims
        if not shares[-1] <= config.area <= shares[0]:
            found = f"masks can have {shares[-1]:.2f} to {shares[0]:.2f}"
            raise InputError(f"masks.area={config.area:g}: {found}; name a share between these")
        return float(np.interp(-config.area, -shares, GRID)), f"area {config.area:g}, no truth"
    return seed_threshold(run, maker.seeds), "mean Otsu, no truth"


def _count(maker: MaskMaker, image_id: str, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Confusion counts (T, L, L + 1) of masks that are made and not kept."""
    truth, num_labels = read_mask(maker.data.mask_path(image_id)), maker.data.num_classes + 1
    with one_thread():
        return np.stack([confusion_matrix(truth, mask, num_labels) for mask in maker([image_id], thresholds)[0]])


def _count_all(run: Run, maker: MaskMaker, image_ids: Sequence[str], thresholds: Sequence[float]) -> NDArray[np.int64]:
    tasks = [delayed(_count)(maker, i, thresholds) for i in image_ids]
    num_labels = maker.data.num_classes + 1
    confusion = np.zeros((len(thresholds), num_labels, num_labels + 1), np.int64)
    for counts in run_tasks(run, maker, tasks, "masks at other thresholds"):
        confusion += counts
    return confusion


def _areas(maker: MaskMaker, image_id: str, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Share of foreground at each threshold."""
    with one_thread():
        masks = maker([image_id], thresholds)[0]
    return ((masks > 0) & (masks != VOID)).mean(axis=(1, 2))


def _protocol(run: Run) -> dict[str, object]:
    """How the masks were made."""
    config = run.config.masks
    crf = f"{config.crf.iterations} iterations" if config.kind in CRF_KINDS else "none"
    return {"method": config.kind, "crf": crf, **seed_protocol(run), **refined_protocol(run)}


def describe_masks(run: Run) -> str:
    """The run's masks in a few words, for the protocols of what is trained on them."""
    path = run.folder / "masks" / "manifest.json"
    protocol = read_manifest(path)["protocols"].get("masks/threshold") if path.exists() else None
    if protocol is None:
        return "pseudo-masks"
    threshold = f"threshold {protocol['threshold']} ({protocol['threshold_from']})"
    crf = "" if protocol["crf"] == "none" else f", CRF {protocol['crf']}"
    refined = f" refined by {protocol['refined']}" if "refined" in protocol else ""
    return f"pseudo-masks ({protocol['method']} of {protocol['maps']}{refined}, {threshold}{crf})"


def _score(run: Run, step: Step, maker: MaskMaker, image_ids: Sequence[str], threshold: float, source: str) -> None:
    config = run.config.masks
    num_labels = run.data.num_classes + 1
    confusion = np.zeros((num_labels, num_labels + 1), np.int64)
    covered = pixels = 0
    for image_id in image_ids:
        mask = read_mask(step.folder / f"{image_id}.png")
        confusion += confusion_matrix(read_mask(run.data.mask_path(image_id)), mask, num_labels)
        covered += int((mask != VOID).sum())
        pixels += mask.size
    scores = iou(confusion)
    protocol = {
        "scored": "masks",
        "split": run.scored_split,
        "images": len(image_ids),
        "void": VOID_POLICY,
        **_protocol(run),
    }
    at = {"threshold": round(threshold, 4), "threshold_from": source}
    step.add_figure("masks/miou", 100 * float(scores.mean), **protocol, **at)
    step.add_figure("masks/coverage", covered / pixels, **protocol, **at)
    write_iou(step.folder / "iou.csv", run, scores.per_label, run.stamp(**protocol, **at))
    others = sorted({round(min(max(threshold + offset, 0.0), 0.99), 4) for offset in config.oracle if offset})
    if others:
        miou = iou(_count_all(run, maker, image_ids, others)).mean
        curve = dict(zip(others, miou.tolist(), strict=True)) | {threshold: float(scores.mean)}
        best = max(curve, key=lambda t: curve[t])
        source = f"oracle, the best of {len(curve)}"
        at_best = {"threshold": round(best, 4), "threshold_from": source}
        step.add_figure("masks/oracle_miou", 100 * curve[best], **protocol, **at_best)
        step.add_figure("masks/oracle_gap", 100 * (curve[best] - float(scores.mean)), **protocol, **at_best)
        rows = [(t, 100 * m) for t, m in sorted(curve.items())]
        write_scores(step.folder / "curve.csv", ["threshold", "miou"], rows, run.stamp(**protocol))
