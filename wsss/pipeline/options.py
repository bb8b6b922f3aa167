"""Look at every option before any work starts, so that a slip costs a second and not a night."""

import copy
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from operator import attrgetter
from pathlib import PurePath

import joblib
import torch

from wsss.errors import InputError
from wsss.masks import BACKENDS, require_backend
from wsss.metrics import ABSENT, VOID_POLICIES
from wsss.metrics.wsol import LATER
from wsss.models.backbones import OUTPUT_STRIDES, build_backbone
from wsss.pipeline.architecture import architecture, check_architecture
from wsss.pipeline.config import AugmentConfig, Config
from wsss.pipeline.loggers import require_trackers
from wsss.pipeline.maps import winning_maps
from wsss.pipeline.process_group import num_gpus
from wsss.pipeline.ranges import MOST_PROCESSES, SEED_KINDS, STAGES, STEPS, STRIDES, check_ranges, require


def check_options(config: Config) -> None:
    """Refuse options that no step could work with.

    Raises:
        InputError: for the first that is out of range, naming the option, its value and what is expected.
    """
    for name in _added(config):
        raise InputError(f"+{name}: no such option; leave the + out to be told what is like it")
    check_ranges(config)
    _check_maps(config)
    require(config, "seed", lambda number: 0 <= number < 2**32, "a number from 0, below 2³²")
    for name in STRIDES:
        require(config, name, lambda stride: stride in OUTPUT_STRIDES, f"one of {', '.join(map(str, OUTPUT_STRIDES))}")
    require(config, "localization.connectivity", lambda value: value in LATER, "4 or 8")
    require(config, "faithfulness.percentiles", lambda values: max(values) <= 100, "numbers of percent")
    for name in ("run", "outputs", "data.root"):
        require(config, name, lambda text: bool(text.strip()), "a name")
    within = "a name, or names with / between, of a folder within outputs"
    require(config, "run", lambda name: not PurePath(name).is_absolute() and ".." not in PurePath(name).parts, within)
    require_trackers(config.logger)
    _check_segmenter(config)
    require(config, "data.val_share", lambda share: 0 < share < 1, "a share between 0 and 1")
    _check_masks(config)
    _check_trainer(config)
    is_size = "two numbers of at least 32 pixels, [height,width]"
    require(config, "plan.image_size", lambda size: len(size) == 2 and min(size) >= 32, is_size)
    check_inference(config)
    check_evaluation(config, "evaluation.")
    for step in STEPS:
        augment = attrgetter(f"{step}.augment")(config)
        if augment is not None:
            _check_augment(augment, f"{step}.augment")
    check_architecture(config)
    for step in STEPS:
        stride = _output_stride(config, step)
        enough = f"at least {stride} pixels, a cell of the backbone's last stage"
        if attrgetter(f"{step}.augment")(config) is not None:
            require(config, f"{step}.augment.crop", lambda crop, stride=stride: crop >= stride, enough)


def _check_maps(config: Config) -> None:
    """ReCAM and the maps that are drawn."""
    lacking = sorted({*config.cam.stages} - {*(config.cam.drawn_stages or config.cam.stages)})
    require(config, "cam.drawn_stages", lambda _: not lacking, f"all of cam.stages, {' and '.join(lacking)} too")
    for name in ("cam.seed", "cam.extra"):
        require(config, name, lambda values: set(values) <= set(SEED_KINDS), f"some of {', '.join(SEED_KINDS)}")
        if not (config.recam.enabled and config.recam.control):
            require(config, name, lambda values: "control" not in values, "no control without recam.control=true")
    if config.recam.enabled:
        require(config, "classifier.pooling", lambda pooling: pooling == "gap", "gap, or recam=none")
        require(config, "classifier.loss", lambda loss: loss == "bce", "bce, or recam=none")
        _check_recam(config)
    else:
        require(config, "cam.target", lambda target: target == "fc1", "fc1, the only one with recam=none")
    if config.cam.stage_weights is not None:
        num = len(config.cam.stages)
        require(config, "cam.stage_weights", lambda w: len(w) == num, f"one for each of cam.stages, {num}")
        require(config, "cam.stage_weights", lambda w: min(w) >= 0 < sum(w), "none negative, one above 0")
        require(config, "cam.fusion", lambda fusion: fusion == "mean", "mean, where cam.stage_weights is given")
    require(config, "cam.adv.threshold", lambda share: 0 <= share < 1, "a share from 0, below 1")
    if "c_mwp" in {*config.cam.seed, *config.cam.extra}:
        _try_winning(config)


def _try_winning(config: Config) -> None:
    """Refuse c-MWP of a network without rules for it, by drawing one, rather than after its training."""
    options = config.backbone
    backbone = build_backbone(options.name, weights="none", output_stride=options.output_stride).eval()
    last = backbone.last_stage
    weight = torch.ones(backbone.channels[last], 1)
    shallowest = min(config.cam.drawn_stages or config.cam.stages)  # what follows it follows all
    winning_maps(backbone, torch.zeros(1, 3, 64, 64), [[0]], shallowest, lambda s: s[last].mean(dim=(2, 3)) @ weight)


def _check_segmenter(config: Config) -> None:
    """What the segmenter alone has."""
    require(config, "segmenter.skip_stage", lambda name: name in STAGES, f"one of {', '.join(STAGES)}")
    require(config, "segmenter.ema_decay", lambda decay: 0 < decay < 1, "a number between 0 and 1")
    require(config, "segmenter.loss.hardest", lambda share: 0 < share <= 1, "a share above 0, up to 1")
    require(config, "segmenter.loss.bootstrap", lambda share: 0 <= share < 1, "a share from 0, below 1")
    if config.segmenter.loss.confidence:
        require(config, "segmenter.masks", lambda _: False, "none, or segmenter.loss.confidence=false: it needs seeds")


def _check_masks(config: Config) -> None:
    """Pseudo-masks and their threshold."""
    require(config, "masks.threshold", lambda value: 0 <= value < 1, "0 ≤ threshold < 1")
    require(config, "masks.area", lambda share: 0 < share < 1, "a share between 0 and 1")
    require(config, "masks.walk.exp_times", lambda t: t <= 12, "12 at most, which is 4096 steps")
    require(config, "masks.walk.keep", lambda share: 0 <= share < 1, "a share from 0, below 1")
    for name in ("masks.relations.radius", "masks.walk.radius"):
        require(config, name, lambda cells: cells >= 2, "at least 2")
    given = [name for name in ("threshold", "annotated", "area") if getattr(config.masks, name) is not None]
    if len(given) > 1:
        raise InputError(f"masks.{given[0]} and masks.{given[1]} both choose the threshold; give one of them")
    require(config, "masks.backend", lambda name: name in known_backends(), f"one of {', '.join(known_backends())}")
    require(config, "masks.crf.gt_prob", lambda value: 0.5 < value < 1, "a probability above 0.5 and below 1")
    is_local = config.masks.backend != "dask"
    require(config, "masks.scheduler", lambda _: not is_local, "none, or masks.backend=dask")
    require(config, "masks.jobs", lambda value: value != 0, "a number of processes, or -1 for one a core")


def check_schedules(config: Config, num_images: int) -> None:
    """Refuse trainings on so many images that end before their learning rate has risen.

    Raises:
        InputError: naming the option, and how many steps there are.
    """
    for name in STEPS:
        step = attrgetter(name)(config)
        steps = step.epochs * max(num_images // step.batch_size, 1)
        if _is_trained(config, name):
            expected = f"less than the {steps} steps that {name} is trained for"
            require(config, f"{name}.optimizer.warmup", lambda warmup, steps=steps: warmup < steps, expected)


def _added(config: object, prefix: str = "") -> Iterator[str]:
    """What `+option=value` has added to the options that there are."""
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]  # every group is a dataclass
    for name, value in vars(config).items():
        if name not in names:
            yield f"{prefix}{name}"
        elif is_dataclass(value):
            yield from _added(value, f"{prefix}{name}.")


def _output_stride(config: Config, step: str) -> int:
    """Of the backbone that a step trains; networks of smp that are not told have 32."""
    if step != "segmenter":
        return config.backbone.output_stride
    return int(architecture(config).backbone.get("output_stride", 32))


def _check_recam(config: Config) -> None:
    """Refuse a loss of which nothing is left, and choices that would change nothing."""
    recam = config.recam
    if recam.sce_weight == 0:
        require(config, "recam.bce_weight", lambda weight: weight > 0, "more than 0, where recam.sce_weight is 0")
    if recam.fc2_loss == "bce":
        require(config, "recam.softmax", lambda over: over == "all", "all, where recam.fc2_loss=bce has no softmax")
    if recam.pooling == "mass":
        expected = "false, where recam.pooling=mass divides by no maximum"
        require(config, "recam.detach_max", lambda detach: not detach, expected)


def _check_trainer(config: Config) -> None:
    def is_number(value: str) -> bool:
        return value.isdecimal() and 0 < int(value) <= MOST_PROCESSES

    expected = f"auto, or a number from 1 to {MOST_PROCESSES}"
    require(config, "trainer.devices", lambda value: value == "auto" or is_number(value), expected)
    if config.trainer.batch == "global":
        require(config, "trainer.lr_rule", lambda rule: rule == "none", "none, or trainer.batch=per_device")
    if config.trainer.strategy == "fsdp":
        require(config, "segmenter.ema_decay", lambda _: False, "null with trainer.strategy=fsdp, which averages none")
    if num_gpus(config.trainer.accelerator) == 0:
        require(config, "trainer.strategy", lambda name: name == "ddp", "ddp on this machine; fsdp needs GPUs")
        require(config, "trainer.sync_batchnorm", lambda wanted: not wanted, "false on this machine; it needs GPUs")


def for_processes(config: Config, number: int) -> Config:
    """The options by which so many processes train as one would, with `trainer.batch` and `lr_rule` carried out.

    Raises:
        InputError: if a batch cannot be shared evenly.
    """
    if number == 1:
        return config
    config = copy.deepcopy(config)
    trainer = config.trainer
    factor = {"none": 1.0, "linear": number, "sqrt": math.sqrt(number)}[trainer.lr_rule]
    for name in STEPS:
        step = attrgetter(name)(config)
        if trainer.batch == "per_device":
            step.batch_size *= number
            step.optimizer.lr *= factor
        elif step.batch_size % number and _is_trained(config, name):
            raise InputError(
                f"{name}.batch_size={step.batch_size}: {number} processes cannot share it evenly; name a multiple of "
                f"{number}, or pass trainer.batch=per_device"
            )
    trainer.batch, trainer.lr_rule = "global", "none"
    return config


def _is_trained(config: Config, step: str) -> bool:
    is_left_out = {"recam": not config.recam.enabled, "masks.relations": config.masks.refine not in ("irn", "psa")}
    return not is_left_out.get(step, False)


def check_inference(config: object) -> None:
    """Refuse ways to look at photographs that there are not, and a CRF that cannot run here.

    Args:
        config: holds an `InferenceConfig` as `inference`.

    Raises:
        InputError: as `check_options`.
    """
    require(config, "inference.scales", lambda scales: scales and min(scales) > 0, "one or more numbers above 0")
    require(config, "inference.window", lambda pixels: pixels >= 32, "at least 32 pixels")
    require(config, "inference.overlap", lambda share: 0 <= share < 1, "a share, 0 or more and below 1")
    crf = attrgetter("inference.crf")(config)
    if crf is None:
        return
    require(config, "inference.crf.backend", lambda name: name in BACKENDS, f"one of {', '.join(BACKENDS)}")
    require(config, "inference.crf.iterations", lambda number: number >= 1, "at least 1")
    for name in ("gaussian_compat", "bilateral_compat"):
        require(config, f"inference.crf.{name}", lambda value: value >= 0, "0 or more")
    for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
        require(config, f"inference.crf.{name}", lambda value: value > 0, "more than 0")
    require_backend(crf)


def check_evaluation(config: object, prefix: str = "") -> None:
    """Refuse policies of scores that there are not.

    Args:
        config: holds the fields of `EvaluationConfig`.
        prefix: how the options lead to them.

    Raises:
        InputError: as `check_options`.
    """
    require(config, f"{prefix}void", lambda value: value in VOID_POLICIES, f"one of {', '.join(VOID_POLICIES)}")
    require(config, f"{prefix}absent", lambda value: value in ABSENT, f"one of {', '.join(ABSENT)}")
    require(config, f"{prefix}boundary", lambda share: 0 < share < 1, "a share of the diagonal, between 0 and 1")
    require(config, f"{prefix}jobs", lambda value: value != 0, "a number of images at a time, or -1 for one a core")


def known_backends() -> list[str]:
    """Joblib's parallel back ends, those registered by others included."""
    return sorted({*joblib.parallel.BACKENDS, *joblib.parallel.EXTERNAL_BACKENDS})


def _check_augment(augment: AugmentConfig, prefix: str) -> None:
    if augment.color_jitter < 0:
        raise InputError(f"{prefix}.color_jitter={augment.color_jitter}: expected 0 or more")
    if augment.crop < 1:
        raise InputError(f"{prefix}.crop={augment.crop}: expected at least 1")
    for name, pair in (("resize_long", augment.resize_long), ("scale", augment.scale)):
        if pair is not None and not (len(pair) == 2 and 0 < pair[0] <= pair[1]):
            raise InputError(f"{prefix}.{name}={pair}: expected [smallest, largest], both above 0")
