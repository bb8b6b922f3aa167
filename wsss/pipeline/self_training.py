"""Self-training: the segmenter labels the train images anew, within their image-level labels, and learns from that."""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from joblib import delayed
from numpy.typing import NDArray

from wsss.data import read_image, read_mask, save_mask
from wsss.masks import CRFParams, dense_crf
from wsss.metrics import confusion_matrix, iou
from wsss.models import Inference, Segmenter, load_segmenter
from wsss.pipeline.config import SelfTrainingConfig
from wsss.pipeline.mask_maker import crf_settings, engine, one_thread, results_of
from wsss.pipeline.processes import on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.tables import VOID_POLICY
from wsss.pipeline.train_segmenter import Lesson, mask_lesson, train_segmenter, true_lesson
from wsss.pipeline.training import autocast, device_of, prepare

log = logging.getLogger(__name__)


def train_segmenters(run: Run) -> None:
    """The segmenter, its rounds of self-training, and its supervised twin, as far as they are asked for."""
    lesson = mask_lesson(run)
    before = train_segmenter(run, lesson).read_figures().get(lesson.key)
    options = run.config.segmenter.self_training
    for number in range(1, options.rounds + 1):
        step = relabel(run, lesson, number)
        change = step.read_figures()[f"relabel/round{number}_change"]
        if change < options.min_change:
            log.info("self-training: %.2f %% of the pixels changed, the masks have settled", 100 * change)
            break
        lesson = next_lesson(step, lesson, number)
        after = train_segmenter(run, lesson).read_figures().get(lesson.key)
        if before is not None and after is not None and after < before:
            log.warning("self-training: round %d took val mIoU from %.1f to %.1f", number, before, after)
        before = after
    if run.config.segmenter.supervised_twin:
        train_segmenter(run, true_lesson(run))


def next_lesson(step: Step, lesson: Lesson, number: int) -> Lesson:
    """What a round's segmenter is trained on: the masks of the step that has labelled anew."""
    return Lesson(
        step=f"segmenter_round{number}",
        key=f"segmenter/round{number}_val_miou",
        ids=lesson.ids,
        folder=step.folder,
        trained_on=f"own masks of round {number}, at first {lesson.trained_on.split(', at first ')[-1]}",
        inputs=(step.name,),
    )


def relabel(run: Run, lesson: Lesson, number: int) -> Step:
    """Write label maps `<id>.png` of the train images as the segmenter of `lesson` sees them.

    Only the labels an image has are considered. Figures: mIoU on the train truth, and the share of the pixels whose
    label is another than in the masks that the segmenter was trained on.
    """
    step = relabel_step(run, lesson, number)
    if step.skip(scored=run.has_train_truth):
        return step
    prepare(run.config)
    with step.working():
        on_first(lambda: _write_and_score(run, step, lesson, number, _crf(run)))
    return step


def relabel_step(run: Run, lesson: Lesson, number: int) -> Step:
    """The step's identity: its options, and the segmenter that labels."""
    crf = _crf(run)
    settings = asdict(run.config.segmenter.self_training)
    for option in ("rounds", "min_change"):
        del settings[option]
    settings |= {"masks_crf": None if crf is None else crf_settings(crf)}
    files = [f"{image_id}.png" for image_id in run.train_ids]
    return run.step(f"relabel_round{number}", {"self_training": settings}, [lesson.step], files)


def _crf(run: Run) -> CRFParams | None:
    return run.config.masks.crf if run.config.segmenter.self_training.crf else None


def _write_and_score(run: Run, step: Step, lesson: Lesson, number: int, crf: CRFParams | None) -> None:
    options = run.config.segmenter.self_training
    _write(run, step, lesson, options, crf)
    changed = total = 0
    for image_id in run.train_ids:
        before, after = read_mask(lesson.folder / f"{image_id}.png"), read_mask(step.folder / f"{image_id}.png")
        changed, total = changed + int((before != after).sum()), total + after.size
    protocol = {
        "images": len(run.train_ids),
        "scales": list(options.scales),
        "flip": options.flip,
        "crf": "none" if crf is None else f"{crf.iterations} iterations",
        "method": f"self-training, round {number}",
    }
    step.add_figure(f"relabel/round{number}_change", changed / total, split=run.config.data.train, **protocol)
    if run.has_train_truth:
        scored = {"scored": "masks", "split": run.scored_split, "void": VOID_POLICY}
        protocol["images"] = len(run.score_ids)
        step.add_figure(f"relabel/round{number}_miou", _miou(run, step.folder), **scored, **protocol)


def _miou(run: Run, folder: Path) -> float:
    confusion = np.zeros((len(run.labels), len(run.labels) + 1), np.int64)
    for i in run.score_ids:
        confusion += confusion_matrix(read_mask(run.data.mask_path(i)), read_mask(folder / f"{i}.png"), len(run.labels))
    return 100 * float(iou(confusion).mean)


@dataclass(frozen=True)
class Relabeller:
    """Probabilities to label maps; picklable, so that worker processes can be given it."""

    image_path: Path
    target: Path
    crf: CRFParams | None

    def __call__(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Write the label map of one image from probabilities (K + 1, H, W) of its own labels."""
        with one_thread():
            if self.crf is None or len(labels) == 1:
                local = probabilities.argmax(axis=0)
            else:
                local = dense_crf(np.array(read_image(self.image_path)), probabilities, params=self.crf)
            save_mask(self.target, labels[local].astype(np.uint8))


def _write(run: Run, step: Step, lesson: Lesson, options: SelfTrainingConfig, crf: CRFParams | None) -> None:
    """Label maps that are missing: the network in this process, the CRF in others."""
    segmenter = load_segmenter(run.folder / lesson.step / "model.pt", device=str(device_of(run.config)))
    inference: Inference = replace(segmenter.inference, scales=tuple(options.scales), flip=options.flip)
    segmenter = Segmenter(segmenter.model, segmenter.classes, inference=inference)
    missing = [i for i in run.train_ids if not (step.folder / f"{i}.png").exists()]
    with engine(run.config.masks):
        tasks = _tasks(run, step, segmenter, missing, crf)
        deque(results_of(run, tasks, step.name, total=len(missing)), maxlen=0)


def _tasks(run: Run, step: Step, segmenter: Segmenter, ids: list[str], crf: CRFParams | None) -> Iterator[object]:
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    for image_id in ids:
        path = run.data.image_path(image_id)
        labels = torch.cat([torch.zeros(1, dtype=torch.long), rows[image_id].nonzero().flatten() + 1]).numpy()
        with autocast(run.config):
            own = segmenter.probabilities(read_image(path))[labels]  # (K + 1, H, W)
        own /= own.sum(axis=0).clip(min=np.finfo(np.float32).tiny)
        yield delayed(Relabeller(path, step.folder / f"{image_id}.png", crf))(own, labels)
