"""Step `masks`: seeds to pseudo-masks, in parallel over images, and their scores."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from rich.progress import track

from wsss.data import VOID, DataDescription, read_image, read_mask, save_mask
from wsss.errors import InputError
from wsss.masks import CRFParams, confident_mask, crf_mask, local_labels, require_backend, to_labels
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.make_seeds import seed_protocol, seed_threshold
from wsss.pipeline.run import Run, Step
from wsss.pipeline.tables import write_csv, write_iou
from wsss.pipeline.training import show_progress
from wsss.seeds import Seeds, load_seeds, resize_maps


@dataclass(frozen=True)
class MaskMaker:
    """Seeds of one image to its pseudo-mask; picklable, so that worker processes can be given it.

    Attributes:
        kind: crf, confident or threshold.
        threshold: background threshold.
        fg_margin: confident: added to the threshold for the foreground pass.
        bg_margin: confident: subtracted from it for the background pass.
        params: the CRF's kernels.
    """

    kind: str
    threshold: float
    fg_margin: float
    bg_margin: float
    params: CRFParams

    def __call__(self, image: NDArray[np.uint8], seeds: Seeds) -> NDArray[np.uint8]:
        """Label map (H, W) uint8."""
        maps = resize_maps(seeds.maps, seeds.size)
        if not len(seeds.classes):
            return np.zeros(seeds.size, np.uint8)
        if self.kind == "threshold":
            return to_labels(local_labels(maps, self.threshold), seeds.classes)
        if self.kind == "crf":
            return crf_mask(image, maps, seeds.classes, threshold=self.threshold, params=self.params)
        return confident_mask(
            image,
            maps,
            seeds.classes,
            fg_threshold=min(self.threshold + self.fg_margin, 1.0),
            bg_threshold=max(self.threshold - self.bg_margin, 0.0),
            params=self.params,
        )


def masks_step(run: Run) -> Step:
    """The step's identity: its options and the seeds."""
    settings = asdict(run.config.masks)
    del settings["jobs"]
    return run.step("masks", {"masks": settings}, ["seeds"], [f"{image_id}.png" for image_id in run.train_ids])


def make_masks(run: Run) -> Step:
    """Write `masks/<id>.png` for every train image and score them on the train truth if there is any."""
    config = run.config.masks
    if run.config.cam.limit_images is not None:
        raise InputError(
            "cam.limit_images: masks need the seeds of all train images; leave it out, or end with until=seeds"
        )
    if config.kind != "threshold":
        require_backend(config.crf)
    step = masks_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    with step.working():
        threshold = seed_threshold(run) if config.threshold is None else config.threshold
        source = "mean Otsu, no truth" if config.threshold is None else "given"
        maker = mask_maker(run, threshold)
        missing = [i for i in run.train_ids if not (step.folder / f"{i}.png").exists()]
        _parallel(run, [delayed(_write_mask)(run.data, run.folder, i, maker) for i in missing], "masks")
        if run.has_train_truth:
            _score(run, step, threshold, source)
    return step


def mask_maker(run: Run, threshold: float) -> MaskMaker:
    """The run's way from seeds to masks at a background threshold."""
    config = run.config.masks
    return MaskMaker(config.kind, threshold, config.fg_margin, config.bg_margin, config.crf)


def _write_mask(data: DataDescription, run_folder: Path, image_id: str, maker: MaskMaker) -> None:
    save_mask(run_folder / "masks" / f"{image_id}.png", _make_mask(data, run_folder, image_id, maker))


def _make_mask(data: DataDescription, run_folder: Path, image_id: str, maker: MaskMaker) -> NDArray[np.uint8]:
    image = np.array(read_image(data.image_path(image_id)))
    return maker(image, load_seeds(run_folder / "seeds" / f"{image_id}.npz"))


def _count(data: DataDescription, run_folder: Path, image_ids: Sequence[str], maker: MaskMaker) -> NDArray[np.int64]:
    """Confusion counts of masks that are made and not kept."""
    total = np.zeros((data.num_classes + 1, data.num_classes + 2), np.int64)
    for image_id in image_ids:
        mask = _make_mask(data, run_folder, image_id, maker)
        total += confusion_matrix(read_mask(data.mask_path(image_id)), mask, data.num_classes + 1)
    return total


def _parallel(run: Run, tasks: Sequence[object], title: str) -> list[Any]:
    if not tasks:
        return []
    results = Parallel(n_jobs=run.config.masks.jobs, return_as="generator")(tasks)
    hidden = not show_progress(run.config)
    return list(track(results, title, total=len(tasks), disable=hidden, transient=True))


def _score(run: Run, step: Step, threshold: float, source: str) -> None:
    config = run.config.masks
    num_labels = run.data.num_classes + 1
    confusion = np.zeros((num_labels, num_labels + 1), np.int64)
    covered = pixels = 0
    for image_id in run.score_ids:
        mask = read_mask(step.folder / f"{image_id}.png")
        confusion += confusion_matrix(read_mask(run.data.mask_path(image_id)), mask, num_labels)
        covered += int((mask != VOID).sum())
        pixels += mask.size
    scores = iou(confusion)
    crf = "none" if config.kind == "threshold" else f"{config.crf.iterations} iterations"
    protocol = {
        "split": run.config.data.score or run.config.data.train,
        "images": len(run.score_ids),
        "method": config.kind,
        "crf": crf,
        **seed_protocol(run),
    }
    at = round(threshold, 4)
    step.add_figure("masks/miou", 100 * float(scores.mean), threshold=at, threshold_from=source, **protocol)
    step.add_figure("masks/coverage", covered / pixels, threshold=at, threshold_from=source, **protocol)
    write_iou(step.folder / "iou.csv", run, scores.per_label)
    if config.oracle:
        _score_oracle(run, step, threshold, float(scores.mean), protocol)


def _score_oracle(run: Run, step: Step, threshold: float, miou: float, protocol: dict[str, object]) -> None:
    """Masks at other thresholds, made to be scored only: how far the threshold without truth is from the best."""
    thresholds = sorted({round(min(max(threshold + offset, 0.0), 0.99), 4) for offset in run.config.masks.oracle})
    parts = np.array_split(np.array(run.score_ids), 2 * (run.config.masks.jobs if run.config.masks.jobs > 0 else 8))
    confusion_shape = (run.data.num_classes + 1, run.data.num_classes + 2)
    tasks = [
        delayed(_count)(run.data, run.folder, part.tolist(), mask_maker(run, t)) for t in thresholds for part in parts
    ]
    counts = np.stack(_parallel(run, tasks, "masks at other thresholds")).reshape(
        len(thresholds), len(parts), *confusion_shape
    )
    curve = {t: float(iou(c.sum(axis=0)).mean) for t, c in zip(thresholds, counts, strict=True)} | {threshold: miou}
    best = max(curve, key=lambda t: curve[t])
    step.add_figure(
        "masks/oracle_miou",
        100 * curve[best],
        threshold=round(best, 4),
        threshold_from=f"oracle, the best of {len(curve)}",
        **protocol,
    )
    write_csv(step.folder / "curve.csv", ["threshold", "miou"], [(t, 100 * m) for t, m in sorted(curve.items())])
