"""Training of segmenters: on pseudo-masks, on the true ones (the twin), on masks from elsewhere."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import wsss
from wsss.data import (
    ImageDataset,
    TrainValData,
    check_masks,
    count_labels,
    eval_transform,
    read_image,
    read_mask,
    save_mask,
)
from wsss.errors import InputError, without_remedy
from wsss.metrics import confusion_matrix, iou
from wsss.models import SegmentationNetwork, load_segmenter
from wsss.models.files import read_checkpoint
from wsss.pipeline.callbacks import stopping_settings
from wsss.pipeline.guards import PredictionGuard, check_masks_teach, warn_of_collapse
from wsss.pipeline.make_masks import describe_masks
from wsss.pipeline.networks import new_segmenter, save_segmenter, trained_network
from wsss.pipeline.processes import in_turn, is_first, on_first
from wsss.pipeline.refine_seeds import source_of_masks
from wsss.pipeline.run import Run
from wsss.pipeline.step import SCRIPT_OF, Step
from wsss.pipeline.tables import VOID_POLICY, write_iou
from wsss.pipeline.training import (
    augmentation,
    autocast,
    device_of,
    fit,
    num_workers,
    optimizer_options,
    prepare,
    shard,
)
from wsss.seeds import label_confidence, load_seeds
from wsss.tasks import MovingAverage, SegmenterTask, balanced_weights


@dataclass(frozen=True)
class Lesson:
    """What a segmenter is trained on.

    Attributes:
        step: name of the training's step.
        key: name of its figure.
        ids: the images.
        folder: where their label maps lie.
        trained_on: what protocols call these.
        inputs: steps that make them.
        fingerprint: what they show, where no step says so.
    """

    step: str
    key: str
    ids: Sequence[str]
    folder: Path
    trained_on: str
    inputs: tuple[str, ...] = ()
    fingerprint: str | None = None


def mask_lesson(run: Run) -> Lesson:
    """The run's pseudo-masks, or label maps from elsewhere."""
    step, key, given = "segmenter", "segmenter/val_miou", run.config.segmenter.masks
    if given is None:
        return Lesson(step, key, run.train_ids, run.folder / "masks", describe_masks(run), ("masks",))
    folder = Path(given)
    return Lesson(step, key, run.train_ids, folder, given, fingerprint=_hash_of_masks(run, folder))


def true_lesson(run: Run) -> Lesson:
    """The truth of the train split, or of the scored part of it that has one (VOC's trainaug)."""
    folder = run.data.root / run.data.mask_folder
    return Lesson("segmenter_supervised", "segmenter/supervised_val_miou", run.truth_ids, folder, "truth")


def segmenter_step(run: Run, lesson: Lesson) -> Step:
    """The step's identity: its options, what it is trained on, and the classifier it may start from."""
    settings = asdict(run.config.segmenter)
    for option in ("supervised_twin", "self_training", "masks"):
        del settings[option]
    if lesson.fingerprint is not None:
        settings["masks"] = lesson.fingerprint
    inputs = [*lesson.inputs]
    if run.config.segmenter.init == "classifier":
        inputs.append(trained_network(run))
    if run.config.segmenter.loss.confidence and "masks" in inputs:
        inputs.append(source_of_masks(run))
    settings = {"backbone": asdict(run.config.backbone), "segmenter": settings}
    of_truth = lesson.trained_on == "truth"
    return run.step(lesson.step, settings | stopping_settings(run.config), inputs, of_truth=of_truth)


def train_segmenter(run: Run, lesson: Lesson) -> Step:
    """Train; writes `model.pt` (and `best.pt`, of the epoch best on val), the val predictions, and scores them."""
    if lesson.trained_on == "truth" and not run.has_train_truth:
        raise InputError("segmenter.supervised_twin=true: the train split has no true masks; leave it false")
    step = segmenter_step(run, lesson)
    if step.skip(scored=run.has_val_truth):
        return step
    run.check_data()
    if lesson.inputs:
        require_masks(run, lesson.folder)
    elif lesson.fingerprint is not None:
        check_masks(run.data, lesson.ids, lesson.folder)
    counts = _count_labels(run, lesson)
    check_masks_teach(counts, run.labels, lesson.folder, own=bool(lesson.inputs))
    prepare(run.config)
    network = in_turn(lambda: new_segmenter(run))  # weights may have to be fetched
    with step.working():
        try:
            _fit(run, step, network, lesson, counts)
        finally:
            if is_first():
                _keep_best(run, step, network, lesson)
        on_first(lambda: _save_and_score(run, step, network, lesson))
    on_first(lambda: _look_for_collapse(run, step, counts))
    return step


def _count_labels(run: Run, lesson: Lesson) -> NDArray[np.int64]:
    try:
        return count_labels(run.data, lesson.ids, lesson.folder)
    except InputError as error:
        if not lesson.inputs:
            raise
        remedy = f"delete it, and `python scripts/{SCRIPT_OF['masks']}` makes it anew"
        raise InputError(f"{without_remedy(error)}; {remedy}") from None


def _save_and_score(run: Run, step: Step, network: SegmentationNetwork, lesson: Lesson) -> None:
    save_segmenter(run, step.folder / "model.pt", network, protocol=training_protocol(run, step, lesson))
    score_segmenter(run, step, lesson)


def _look_for_collapse(run: Run, step: Step, counts: NDArray[np.int64]) -> None:
    predicted = count_labels(run.data, run.val_ids, step.folder / "predictions")
    warn_of_collapse(predicted[:-1], counts[:-1], run.labels)


def training_protocol(run: Run, step: Step, lesson: Lesson) -> dict[str, object]:
    """How the segmenter was trained, for its model file; `options` is the fingerprint of all the step depends on."""
    return run.stamp(
        split=run.config.data.train,
        images=len(lesson.ids),
        trained_on=lesson.trained_on,
        epochs=int(step.figures.get(f"{step.name}/epochs", run.config.segmenter.epochs)),
        seed=run.config.seed,
        options=step.fingerprint,
        wsss=wsss.__version__,
    )


def require_masks(run: Run, folder: Path) -> None:
    """Refuse a folder that lacks the label map of a train image."""
    is_own = folder == run.folder / "masks"
    remedy = "make_masks.py` makes what is missing" if is_own else "import_masks.py … --complete` adds the run's own"
    for image_id in run.train_ids:
        path = folder / f"{image_id}.png"
        if not path.exists():
            raise InputError(f"{path}: there is no such mask; `python scripts/{remedy}")


def _hash_of_masks(run: Run, folder: Path) -> str:
    """What they show, wherever they lie."""
    require_masks(run, folder)
    digest = hashlib.sha256()
    for image_id in run.train_ids:
        digest.update(hashlib.sha256((folder / f"{image_id}.png").read_bytes()).digest())
    return digest.hexdigest()[:16]


def _fit(run: Run, step: Step, network: SegmentationNetwork, lesson: Lesson, counts: NDArray[np.int64]) -> None:
    config = run.config.segmenter
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    labels = torch.stack([rows[i] for i in lesson.ids])
    val_ids, val_labels = (run.val_ids, run.val_labels) if run.has_val_truth else ([], run.val_labels[:0])
    by_seeds = config.loss.confidence and "masks" in lesson.inputs
    data = TrainValData(
        ImageDataset(
            run.data,
            lesson.ids,
            labels,
            transform=augmentation(config.augment),
            mask_folder=lesson.folder,
            cache=run.image_cache,
            confidence=SeedConfidence(run.folder / source_of_masks(run)) if by_seeds else None,
        ),
        ImageDataset(
            run.data,
            val_ids,
            val_labels,
            transform=eval_transform(),
            mask_folder=run.data.root / run.data.mask_folder,
        ),
        batch_size=config.batch_size,
        num_workers=num_workers(run.config),
        val_same_size=False,
        shard=shard(),
        seed=run.config.seed,
    )
    balance = config.loss.class_balance
    task = SegmenterTask(
        network,
        num_labels=len(run.labels),
        eval_resize_long=config.eval_resize_long,
        label_weights=balanced_weights(torch.from_numpy(counts[:-1]), balance) if balance else None,
        bootstrap=config.loss.bootstrap,
        hardest=config.loss.hardest,
        **optimizer_options(config.optimizer),
    )
    average = [] if config.ema_decay is None else [MovingAverage(config.ema_decay)]
    fit(
        run.config,
        task,
        data,
        step,
        epochs=config.epochs,
        callbacks=[*average, PredictionGuard()],
        guarded="segmenter",
        figure="val/miou" if val_ids else None,
        keep_best=True,
    )


def _keep_best(run: Run, step: Step, network: SegmentationNetwork, lesson: Lesson) -> None:
    """Leave the weights of the epoch that was best on val as a model file of their own."""
    path = step.folder / "checkpoints" / "best.ckpt"
    if path.exists():
        state = read_checkpoint(path)["state_dict"]
        best = copy.deepcopy(network)
        best.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
        protocol = {**training_protocol(run, step, lesson), "weights": f"of the epoch best on {run.config.data.val}"}
        save_segmenter(run, step.folder / "best.pt", best, protocol=protocol)


@dataclass(frozen=True)
class SeedConfidence:
    """Confidence in pseudo-masks by the seeds they were made from; picklable, for loader processes."""

    seeds: Path

    def __call__(self, image_id: str, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Confidence (H, W), 0 … 255."""
        confidence = label_confidence(load_seeds(self.seeds / f"{image_id}.npz"), mask)
        return (255 * confidence).round().astype(np.uint8)


def score_segmenter(run: Run, step: Step, lesson: Lesson) -> None:
    """Predict the val images at one scale, keep the predictions, and score them if there is truth."""
    protocol = val_protocol(run, lesson.trained_on)
    scored = predict_val(run, step.folder / "model.pt", step.folder, protocol)
    if scored is not None:
        step.add_figure(lesson.key, scored, **protocol)


def predict_val(run: Run, model: Path, folder: Path, protocol: Mapping[str, object]) -> float | None:
    """Write `predictions/<id>.png` and `iou.csv` under `folder`; mIoU in percent, None without truth."""
    num_labels = run.data.num_classes + 1
    confusion = np.zeros((num_labels, num_labels + 1), np.int64)
    for image_id, prediction in predict_images(run, model, run.val_ids, folder / "predictions"):
        if run.has_val_truth:
            confusion += confusion_matrix(read_mask(run.data.mask_path(image_id)), prediction, num_labels)
    if not run.has_val_truth:
        return None
    scores = iou(confusion)
    write_iou(folder / "iou.csv", run, scores.per_label, run.stamp(**protocol))
    return 100 * float(scores.mean)


def predict_images(run: Run, model: Path, ids: Sequence[str], folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Write `<id>.png` under `folder`, and yield ids and label maps (H, W); nothing but the images is needed."""
    segmenter = load_segmenter(model, device=str(device_of(run.config)))
    folder.mkdir(parents=True, exist_ok=True)
    for image_id in ids:
        with autocast(run.config):
            prediction = segmenter(read_image(run.data.image_path(image_id)))
        save_mask(folder / f"{image_id}.png", prediction)
        yield image_id, prediction


def val_protocol(run: Run, trained_on: str) -> dict[str, object]:
    """How the segmenter is scored."""
    resized = run.config.segmenter.eval_resize_long
    size = {} if resized is None else {"resize_long": resized}
    return {
        "scored": "segmenter",
        "split": run.config.data.val,
        "images": len(run.val_ids),
        **size,
        "scales": [1.0],
        "flip": False,
        "crf": "none",
        "void": VOID_POLICY,
        "trained_on": trained_on,
    }
