"""Steps `classifier`, `recam` and `control`: networks from image labels."""

from dataclasses import asdict
from typing import Any

from wsss.data import ImageDataset, TrainValData, center_transform
from wsss.errors import InputError
from wsss.models import Classifier
from wsss.pipeline.callbacks import stopping_settings
from wsss.pipeline.config import AugmentConfig
from wsss.pipeline.networks import load_classifier, new_classifier, new_recam, save_classifier
from wsss.pipeline.processes import in_turn, on_first
from wsss.pipeline.run import Run, Step
from wsss.pipeline.training import augmentation, fit, num_workers, optimizer_options, prepare, shard
from wsss.tasks import ClassifierTask, ReCAMTask


def classifier_step(run: Run) -> Step:
    """The step's identity: its options."""
    config = run.config
    settings = {"backbone": asdict(config.backbone), "classifier": asdict(config.classifier)}
    return run.step("classifier", settings | stopping_settings(config))


def recam_step(run: Run, *, control: bool = False) -> Step:
    """The step's identity: its options and the classifier. The control differs in λ = 0 alone."""
    settings = asdict(run.config.recam)
    del settings["control"]
    if control:
        settings["sce_weight"] = 0.0
    return run.step(
        "control" if control else "recam", {"recam": settings} | stopping_settings(run.config), ["classifier"]
    )


def train_classifier(run: Run) -> Step:
    """Train the classifier; writes `classifier/model.pt`.

    Raises:
        InputError: for `classifier.loss=softmax` where an image has not one label.
    """
    step = classifier_step(run)
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    options = run.config.classifier
    if options.loss == "softmax":
        _require_single_labels(run)
    network = in_turn(lambda: new_classifier(run.config, run.data.num_classes))  # weights may have to be fetched
    with step.working():
        loss: Any = options.loss
        task = ClassifierTask(network, loss=loss, **optimizer_options(options.optimizer))
        _fit(run, step, task, network, options.augment, epochs=options.epochs, batch_size=options.batch_size)
    return step


def _require_single_labels(run: Run) -> None:
    for ids, labels in ((run.train_ids, run.train_labels), (run.val_ids, run.val_labels)):
        for image_id, number in zip(ids, (labels > 0).sum(dim=1).tolist(), strict=True):
            if number != 1:
                raise InputError(
                    f"classifier.loss=softmax: image {image_id} has {number} labels, expected one in each image; "
                    "choose classifier.loss=bce"
                )


def train_recam(run: Run, *, control: bool = False) -> Step:
    """Train the ReCAM head and the network below it; writes `recam/model.pt` (or `control/model.pt`, λ = 0)."""
    step = recam_step(run, control=control)
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    options = run.config.recam
    network = new_recam(run.config, load_classifier(run.folder / "classifier" / "model.pt"))
    augment = options.augment or run.config.classifier.augment
    with step.working():
        sce_weight = 0.0 if control else options.sce_weight
        task = ReCAMTask(network, sce_weight=sce_weight, **optimizer_options(options.optimizer))
        _fit(run, step, task, network, augment, epochs=options.epochs, batch_size=options.batch_size)
    return step


def require_classes(run: Run) -> None:
    """Refuse ReCAM's loss on a single class, whose softmax is 1 whatever the network says."""
    if run.config.recam.enabled and run.config.recam.sce_weight and run.data.num_classes == 1:
        raise InputError(
            f"{run.data.root}: {run.data.classes[0]} is its only class, and ReCAM compares classes; pass recam=none"
        )


def _fit(
    run: Run,
    step: Step,
    task: ClassifierTask,
    network: Classifier,
    augment: AugmentConfig,
    *,
    epochs: int,
    batch_size: int,
) -> None:
    data = TrainValData(
        ImageDataset(run.data, run.train_ids, run.train_labels, transform=augmentation(augment), cache=run.image_cache),
        ImageDataset(
            run.data, run.val_ids, run.val_labels, transform=center_transform(augment.crop), cache=run.image_cache
        ),
        batch_size=batch_size,
        num_workers=num_workers(run.config),
        shard=shard(),
        seed=run.config.seed,
    )
    guarded = "classifier" if step.name == "classifier" else "recam"
    trainer = fit(run.config, task, data, step, epochs=epochs, guarded=guarded, figure="val/map")
    if "val/map" not in trainer.callback_metrics:  # an interrupted run had ended its last epoch
        trainer.validate(task, datamodule=data, verbose=False)
    on_first(lambda: save_classifier(run, step.folder / "model.pt", network))
    step.add_figure(
        f"{step.name}/val_map",
        100 * float(trainer.callback_metrics["val/map"]),
        split=run.config.data.val,
        images=len(run.val_ids),
        crop=augment.crop,
    )


def train_classifiers(run: Run) -> None:
    """Steps `classifier` and, unless left out, `recam` and its `control`."""
    require_classes(run)
    train_classifier(run)
    if run.config.recam.enabled:
        train_recam(run)
        if run.config.recam.control:
            train_recam(run, control=True)
