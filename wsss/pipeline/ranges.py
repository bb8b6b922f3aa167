"""What each option alone may be: tables of names, and the check of them all."""

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from operator import attrgetter

from wsss.data.description import LABEL_SOURCES
from wsss.defaults import STEPS as PIPELINE
from wsss.errors import InputError
from wsss.masks import BACKENDS
from wsss.models import NETWORKS
from wsss.pipeline.callbacks import PROFILERS
from wsss.pipeline.config import Config
from wsss.pipeline.maps import STAGE_KINDS, TARGETS, WEIGHT_KINDS

SEED_KINDS = (*WEIGHT_KINDS, *STAGE_KINDS)
STAGES = tuple(f"stage{i}" for i in range(1, 6))
CLASSIFIERS = ("classifier", "recam", "control")
CHOICES = {
    "data.labels": ("auto", *LABEL_SOURCES),
    "classifier.pooling": ("gap", "gmp"),
    "classifier.loss": ("bce", "softmax"),
    "classifier.optimizer.name": ("sgd", "adamw"),
    "recam.optimizer.name": ("sgd", "adamw"),
    "recam.fc2_init": ("zero", "default"),
    "recam.fc2_loss": ("sce", "bce", "both"),
    "recam.softmax": ("all", "present"),
    "recam.pooling": ("pixels", "mass"),
    "cam.fusion": ("max", "mean"),
    "until": PIPELINE,
    "cam.target": tuple(TARGETS),
    "masks.kind": ("crf", "confident", "graphcut", "threshold"),
    "localization.split": ("train", "val"),
    "localization.network": CLASSIFIERS,
    "faithfulness.split": ("train", "val"),
    "faithfulness.network": CLASSIFIERS,
    "masks.refine": ("none", "irn", "psa", "par"),
    "masks.relations.optimizer.name": ("sgd", "adamw"),
    "masks.crf.backend": BACKENDS,
    "segmenter.name": NETWORKS,
    "segmenter.init": ("imagenet", "classifier"),
    "segmenter.optimizer.name": ("sgd", "adamw"),
    "trainer.strategy": ("ddp", "fsdp"),
    "trainer.batch": ("global", "per_device"),
    "trainer.lr_rule": ("none", "linear", "sqrt"),
    "trainer.precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
    "trainer.profiler": PROFILERS,
}
STEPS = ("classifier", "recam", "masks.relations", "segmenter")
AT_LEAST_ONE = (
    *(f"{step}.{option}" for step in STEPS for option in ("epochs", "batch_size")),
    *("limit_images", "data.cache_long", "cam.limit_images", "cam.batch_size", "cam.thresholds", "cam.resize_long"),
    *("localization.fractions", "faithfulness.limit_images", "faithfulness.batch_size", "faithfulness.steps"),
    *("masks.annotated", "masks.crf.iterations", "masks.walk.budget", "masks.par.stride", "masks.par.iterations"),
    *("segmenter.channels", "segmenter.skip_channels", "segmenter.eval_resize_long"),
    *("trainer.threads", "trainer.val_every", "callbacks.early_stopping.patience", "callbacks.bar_every"),
    *("report.num_images", "report.side", "hardware.devices", "hardware.cores"),
    *("plan.images", "plan.val_images", "plan.classes", "plan.classes_per_image"),
)
NOT_NEGATIVE = (
    *(f"{step}.optimizer.{o}" for step in STEPS for o in ("momentum", "weight_decay", "poly_power", "warmup")),
    *("data.split_seed", "recam.sce_weight", "recam.bce_weight"),
    *("cam.grad_cam_pp_eps", "cam.adv.steps", "cam.adv.weight"),
    *("masks.fg_margin", "masks.bg_margin", "masks.crf.gaussian_compat", "masks.crf.bilateral_compat"),
    *("masks.walk.exp_times", "masks.walk.background_power", "masks.par.place_weight"),
    *("segmenter.loss.class_balance", "segmenter.self_training.rounds", "segmenter.self_training.min_change"),
    *("trainer.num_workers", "callbacks.early_stopping.min_delta", "callbacks.model_summary"),
    *("reproduce_tolerance", "plan.scored"),
)
POSITIVE = (
    *(f"{step}.optimizer.{option}" for step in STEPS for option in ("lr", "head_lr_factor", "bias_lr_factor")),
    *("cam.gamma", "cam.adv.step_size", "masks.crf.gaussian_sxy", "masks.crf.bilateral_sxy"),
    *("masks.crf.bilateral_srgb", "masks.walk.beta", "masks.par.color_width", "masks.par.place_width"),
    *("plan.seconds", "hardware.training_speed", "hardware.inference_speed", "hardware.cpu_speed"),
)
LISTS_OF_STAGES = (
    *("backbone.frozen_stages", "segmenter.backbone.frozen_stages"),
    *("cam.stages", "cam.tanh_stages", "cam.drawn_stages"),
)
SOME_POSITIVE = (
    *("cam.scales", "cam.layer_scales", "segmenter.atrous_rates", "segmenter.self_training.scales"),
    *("masks.walk.scales", "masks.par.dilations", "faithfulness.percentiles"),
)
NOT_EMPTY = (
    *("cam.seed", "cam.stages", "cam.drawn_stages", "localization.kinds", "faithfulness.kinds"),
    *SOME_POSITIVE,
)
STRIDES = ("backbone.output_stride", "segmenter.output_stride")
PROCESSES = ("trainer.num_workers", "trainer.threads", "masks.jobs", "evaluation.jobs")
MOST_PROCESSES = 1024  # beyond, a slip takes the machine down before anybody can read of it
MAX_RADIUS = 32  # cells between which IRN and AffinityNet look for paths; published: 10 and 5
ALL_POSITIVE = (*SOME_POSITIVE, "segmenter.multi_scale_inputs")


def check_ranges(config: Config) -> None:
    """Refuse the first option outside its range, whatever the others are.

    Raises:
        InputError: naming the option, its value and what is expected.
    """
    for name, value in _numbers(config):
        if not math.isfinite(value):
            raise InputError(f"{name}={value}: expected a finite number")
    for name, choices in CHOICES.items():
        require(config, name, lambda value, choices=choices: value in choices, f"one of {', '.join(choices)}")
    for name in AT_LEAST_ONE:
        require(config, name, lambda value: value >= 1, "at least 1")
    for name in NOT_NEGATIVE:
        require(config, name, lambda value: value >= 0, "0 or more")
    for name in POSITIVE:
        require(config, name, lambda value: value > 0, "more than 0")
    for name in PROCESSES:
        require(config, name, lambda value: value <= MOST_PROCESSES, f"at most {MOST_PROCESSES}")
    for name in (f"{step}.optimizer.momentum" for step in STEPS):
        require(config, name, lambda value: value < 1, "below 1")
    for name in ("masks.walk.radius", "masks.relations.radius"):
        require(config, name, lambda value: value <= MAX_RADIUS, f"at most {MAX_RADIUS}: paths grow by its cube")
    for name in NOT_EMPTY:
        require(config, name, lambda value: len(value) > 0, "at least one entry")
    for name in ALL_POSITIVE:
        require(config, name, lambda values: min(values, default=1) > 0, "numbers above 0")
    for name in LISTS_OF_STAGES:
        require(config, name, lambda values: set(values) <= set(STAGES), f"some of {', '.join(STAGES)}")
        require(config, name, lambda values: len(values) == len({*values}), "each stage once")


def _numbers(config: object, prefix: str = "") -> Iterator[tuple[str, float]]:
    """All numbers among the options, those in lists too, by the option's name."""
    for field in fields(config):  # type: ignore[arg-type]  # every group is a dataclass
        value = getattr(config, field.name)
        for one in value if isinstance(value, list) else [value]:
            if is_dataclass(one):
                yield from _numbers(one, f"{prefix}{field.name}.")
            elif isinstance(one, (int, float)):
                yield f"{prefix}{field.name}", one


def require(config: object, name: str, holds: Callable[..., bool], expected: str) -> None:
    """Refuse an option's value (unless it is None), naming it and what is expected.

    Raises:
        InputError: if the value does not hold.
    """
    value = attrgetter(name)(config)
    if value is not None and not holds(value):
        raise InputError(f"{name}={value}: expected {expected}")
