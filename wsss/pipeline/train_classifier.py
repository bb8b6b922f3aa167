"""Steps `classifier`, `recam` and `control`: networks from image labels."""

from dataclasses import asdict, fields, replace
from typing import Any

from wsss.data import ImageDataset, TrainValData, center_transform
from wsss.errors import InputError
from wsss.models import Classifier, ReCAMVariant
from wsss.models.recam import PUBLISHED
from wsss.pipeline.callbacks import stopping_settings
from wsss.pipeline.config import AugmentConfig, Config, ReCAMConfig
from wsss.pipeline.networks import load_classifier, new_classifier, new_recam, save_classifier
from wsss.pipeline.processes import in_turn, on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.training import augmentation, fit, num_workers, optimizer_options, prepare, shard
from wsss.tasks import ClassifierTask, ReCAMTask


def classifier_step(run: Run) -> Step:
    """The step's identity: its options."""
    config = run.config
    settings = {"backbone": asdict(config.backbone), "classifier": asdict(config.classifier)}
    return run.step("classifier", settings | stopping_settings(config))


def recam_step(run: Run, *, control: bool = False) -> Step:
    """The step's identity: its options and the classifier."""
    settings = asdict(_recam_options(run.config, control=control))
    del settings["control"]
    return run.step(
        "control" if control else "recam", {"recam": settings} | stopping_settings(run.config), ["classifier"]
    )


def _recam_options(config: Config, *, control: bool) -> ReCAMConfig:
    """Options of the step. The control, BCE alone, has none that vary FC2's loss, so all variants share it."""
    return replace(config.recam, sce_weight=0.0, **asdict(PUBLISHED)) if control else config.recam


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
    if options.freeze_backbone:
        network.backbone.freeze()
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
    options = _recam_options(run.config, control=control)
    variant = ReCAMVariant(**{choice.name: getattr(options, choice.name) for choice in fields(ReCAMVariant)})
    network = new_recam(run.config, load_classifier(run.folder / "classifier" / "model.pt"))
    augment = options.augment or run.config.classifier.augment
    with step.working():
        task = ReCAMTask(
            network, sce_weight=options.sce_weight, variant=variant, **optimizer_options(options.optimizer)
        )
        _fit(run, step, task, network, augment, epochs=options.epochs, batch_size=options.batch_size)
    return step


def require_rivals(run: Run) -> None:
    """Refuse an SCE that never has a second class to tell the first from.

    Raises:
        InputError: if FC2 has nothing else to learn by.
    """
    options = run.config.recam
    if not options.enabled or options.sce_weight == 0 or options.fc2_loss != "sce":
        return
    if run.data.num_classes == 1:
        raise InputError(
            f"{run.data.root}: {run.data.classes[0]} is its only class, and ReCAM compares classes; pass recam=none"
        )
    if options.softmax == "present" and ((run.train_labels > 0).sum(dim=1) < 2).all():
        raise InputError(
            "recam.softmax=present: no train image has two labels, so the SCE is 0 in each and FC2 learns nothing; "
            "choose recam.softmax=all"
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
    require_rivals(run)
    train_classifier(run)
    train_second_heads(run)


def train_second_heads(run: Run) -> None:
    """Steps `recam` and `control`, unless left out."""
    if run.config.recam.enabled:
        train_recam(run)
        if run.config.recam.control:
            train_recam(run, control=True)
