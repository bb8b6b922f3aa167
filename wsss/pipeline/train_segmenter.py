"""Steps `segmenter` and `segmenter_supervised`: DeepLab on pseudo-masks, and its twin on the true ones."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

import wsss
from wsss.data import ImageDataset, TrainValData, check_masks, eval_transform, read_image, read_mask, save_mask
from wsss.errors import InputError
from wsss.metrics import confusion_matrix, iou
from wsss.models import SegmentationNetwork, load_segmenter
from wsss.pipeline.networks import new_segmenter, save_segmenter
from wsss.pipeline.run import Run, Step
from wsss.pipeline.tables import VOID_POLICY, write_iou
from wsss.pipeline.training import augmentation, autocast, device_of, fit, num_workers, optimizer_options, prepare
from wsss.tasks import SegmenterTask


def segmenter_step(run: Run, *, supervised: bool = False) -> Step:
    """The step's identity: its options, and the masks or the classifier it starts from."""
    settings = asdict(run.config.segmenter)
    del settings["supervised_twin"]
    given = settings.pop("masks")
    inputs = []
    if given is not None and not supervised:
        settings["masks"] = _hash_of_masks(run)  # what they show, wherever they lie
    elif not supervised:
        inputs.append("masks")
    if run.config.segmenter.init == "classifier":
        inputs.append("recam" if run.config.recam.enabled else "classifier")
    name = "segmenter_supervised" if supervised else "segmenter"
    return run.step(name, {"backbone": asdict(run.config.backbone), "segmenter": settings}, inputs)


def train_segmenter(run: Run, *, supervised: bool = False) -> Step:
    """Train on the pseudo-masks (or on the truth); writes `model.pt`, the val predictions, and scores them."""
    if supervised and not run.has_train_truth:
        raise InputError("segmenter.supervised_twin=true: the train split has no true masks; leave it false")
    step = segmenter_step(run, supervised=supervised)
    if step.skip(scored=run.has_val_truth):
        return step
    run.check_data()
    if not supervised and run.config.segmenter.masks is None:
        require_masks(run, mask_folder(run))
    elif not supervised:
        check_masks(run.data, run.train_ids, mask_folder(run))
    prepare(run.config)
    network = new_segmenter(run)
    with step.working():
        _fit(run, step, network, supervised=supervised)
        protocol = training_protocol(run, step, supervised=supervised)
        save_segmenter(run, step.folder / "model.pt", network, protocol=protocol)
        score_segmenter(run, step, supervised=supervised)
    return step


def mask_folder(run: Run) -> Path:
    """Where the label maps lie that the segmenter is trained on."""
    given = run.config.segmenter.masks
    return run.folder / "masks" if given is None else Path(given)


def trained_on(run: Run, *, supervised: bool) -> str:
    """The segmenter's masks, as protocols call them."""
    return "truth" if supervised else run.config.segmenter.masks or "pseudo-masks"


def training_protocol(run: Run, step: Step, *, supervised: bool) -> dict[str, object]:
    """How the segmenter was trained, for its model file; `options` is the fingerprint of all the step depends on."""
    return run.stamp(
        split=run.config.data.train,
        images=len(run.truth_ids if supervised else run.train_ids),
        trained_on=trained_on(run, supervised=supervised),
        epochs=run.config.segmenter.epochs,
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


def _hash_of_masks(run: Run) -> str:
    folder = mask_folder(run)
    require_masks(run, folder)
    digest = hashlib.sha256()
    for image_id in run.train_ids:
        digest.update(hashlib.sha256((folder / f"{image_id}.png").read_bytes()).digest())
    return digest.hexdigest()[:16]


def train_segmenters(run: Run) -> None:
    """Step `segmenter` and, if asked for, its supervised twin."""
    train_segmenter(run)
    if run.config.segmenter.supervised_twin:
        train_segmenter(run, supervised=True)


def _fit(run: Run, step: Step, network: SegmentationNetwork, *, supervised: bool) -> None:
    config = run.config.segmenter
    truth = run.data.root / run.data.mask_folder
    # The truth of the train split may cover its scored part alone (VOC's trainaug).
    ids, folder = (run.truth_ids, truth) if supervised else (run.train_ids, mask_folder(run))
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    labels = torch.stack([rows[i] for i in ids])
    val_ids, val_labels = (run.val_ids, run.val_labels) if run.has_val_truth else ([], run.val_labels[:0])
    data = TrainValData(
        ImageDataset(
            run.data,
            ids,
            labels,
            transform=augmentation(config.augment),
            mask_folder=folder,
            cache=run.image_cache,
        ),
        ImageDataset(run.data, val_ids, val_labels, transform=eval_transform(), mask_folder=truth),
        batch_size=config.batch_size,
        num_workers=num_workers(run.config),
        val_same_size=False,
    )
    task = SegmenterTask(
        network,
        num_labels=run.data.num_classes + 1,
        eval_resize_long=config.eval_resize_long,
        **optimizer_options(config.optimizer),
    )
    fit(run.config, task, data, step.folder, epochs=config.epochs)


def score_segmenter(run: Run, step: Step, *, supervised: bool = False) -> None:
    """Predict the val images at one scale, keep the predictions, and score them if there is truth."""
    protocol = val_protocol(run, supervised=supervised)
    scored = predict_val(run, step.folder / "model.pt", step.folder, protocol)
    if scored is not None:
        key = "segmenter/supervised_val_miou" if supervised else "segmenter/val_miou"
        step.add_figure(key, scored, **protocol)


def predict_val(run: Run, model: Path, folder: Path, protocol: Mapping[str, object]) -> float | None:
    """Write `predictions/<id>.png` and `iou.csv` under `folder`; mIoU in percent, None without truth."""
    segmenter = load_segmenter(model, device=str(device_of(run.config)))
    num_labels = run.data.num_classes + 1
    confusion = np.zeros((num_labels, num_labels + 1), np.int64)
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    for image_id in run.val_ids:
        with autocast(run.config):
            prediction = segmenter(read_image(run.data.image_path(image_id)))
        save_mask(folder / "predictions" / f"{image_id}.png", prediction)
        if run.has_val_truth:
            confusion += confusion_matrix(read_mask(run.data.mask_path(image_id)), prediction, num_labels)
    if not run.has_val_truth:
        return None
    scores = iou(confusion)
    write_iou(folder / "iou.csv", run, scores.per_label, run.stamp(**protocol))
    return 100 * float(scores.mean)


def val_protocol(run: Run, *, supervised: bool = False) -> dict[str, object]:
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
        "trained_on": trained_on(run, supervised=supervised),
    }
