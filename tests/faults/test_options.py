"""Every option with values that nothing could work with: refused in a line that names it, or accepted."""

import copy
import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from tests.pipeline.conftest import REPOSITORY, compose_config
from wsss.errors import InputError
from wsss.pipeline.config import Config
from wsss.pipeline.options import check_options, check_schedules
from wsss.pipeline.refusals import option_names, told

HOSTILE: dict[type, list[Any]] = {
    float: [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300],
    int: [-1, 0, 10**9],
    str: ["", " ", "no such thing", "../..", "\0"],
}
MISSPELT = [
    ("classifer.epochs=1", "did you mean classifier.epochs?"),
    ("classifier.epoch=1", "did you mean classifier.epochs?"),
    ("recam.sce_weigth=1", "did you mean recam.sce_weight?"),
    ("mask=crf", "did you mean masks?"),
    ("experiment=dmeo", "did you mean demo?"),
    ("backbone=resnet5", "expected one of efficientnet_lite0, resnet101, resnet18, resnet50, vgg16; did you mean"),
    ("qqqqqq=1", "qqqqqq: no such option; `--help`"),
]
WRONG_TYPE = [
    ("classifier.optimizer.lr=abc", "classifier.optimizer.lr=abc: Value 'abc'"),
    ("cam.scales=3", "cam.scales=3: "),
    ("seed=1.5", "seed=1.5: "),
    ("segmenter.augment=abc", "segmenter.augment=abc: "),
]
IMPOSSIBLE = [
    ("recam.sce_weight=-1", "recam.sce_weight=-1.0: expected 0 or more"),
    ("masks.threshold=1.5", "masks.threshold=1.5: expected 0 ≤ threshold < 1"),
    ("cam.stages=[stage7]", "cam.stages=['stage7']: expected some of stage1"),
    ("cam.seed=[]", "cam.seed=[]: expected at least one entry"),
    ("backbone.output_stride=7", "backbone.output_stride=7: expected one of 8, 16, 32"),
    ("classifier.optimizer.lr=inf", "classifier.optimizer.lr=inf: expected a finite number"),
    ("classifier.optimizer.momentum=1.5", "classifier.optimizer.momentum=1.5: expected below 1"),
    ("classifier.augment.color_jitter=-1", "classifier.augment.color_jitter=-1.0: expected 0 or more"),
    ("classifier.augment.crop=8", "classifier.augment.crop=8: expected at least 32 pixels"),
    ("segmenter.augment.crop=8", "segmenter.augment.crop=8: expected at least 32 pixels"),
    ("trainer.num_workers=10000000", "trainer.num_workers=10000000: expected at most 1024"),
    ("trainer.devices=10000000", "trainer.devices=10000000: expected auto, or a number from 1 to 1024"),
    ("trainer.val_every=0", "trainer.val_every=0: expected at least 1"),
    ("masks.jobs=0", "masks.jobs=0: expected a number of processes"),
    ("outputs=''", "outputs=: expected a name"),
    ("+foo=1", "+foo: no such option"),
    ("+classifier.foo=1", "+classifier.foo: no such option"),
]


@cache
def smoke() -> Config:
    return compose_config("experiment=smoke")


def leaves(config: object, prefix: str = "") -> Iterator[str]:
    for field in fields(config):  # type: ignore[arg-type]  # every group is a dataclass
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def null_leaves(group: type = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Options that may be null, with their type otherwise."""
    for name, kind in get_type_hints(group).items():
        if is_dataclass(kind):
            yield from null_leaves(kind, f"{prefix}{name}.")  # type: ignore[arg-type]  # a class
        elif NoneType in get_args(kind):
            yield f"{prefix}{name}", get_args(kind)[0]


def hostile_values(value: object) -> list[Any]:
    """Of the type that the option has; other types never come this far."""
    if isinstance(value, list):
        return [[], *([one] for one in hostile_values(value[0]))] if value else [[]]
    return HOSTILE.get(type(value), [])


def refusal(config: Config) -> str | None:
    try:
        check_options(config)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", [*leaves(smoke())])
def test_a_hostile_value_is_refused_by_name_or_accepted(name: str) -> None:
    refused_or_accepted(name, hostile_values(attrgetter(name)(smoke())))


@pytest.mark.parametrize(("name", "kind"), [*null_leaves()])
def test_a_hostile_value_of_an_option_that_may_be_null_is_refused_or_accepted(name: str, kind: Any) -> None:
    (element,) = get_args(kind) or (None,)
    in_lists = [[], *([one] for one in HOSTILE.get(element, []))]
    refused_or_accepted(name, in_lists if element else HOSTILE.get(kind, []))


def refused_or_accepted(name: str, values: list[Any]) -> None:
    for value in values:
        config = copy.deepcopy(smoke())
        group, _, option = name.rpartition(".")
        setattr(attrgetter(group)(config) if group else config, option, value)
        message = refusal(config)
        numbers = value if isinstance(value, list) else [value]
        if message is None:
            assert all(math.isfinite(number) for number in numbers if isinstance(number, float)), value
        else:
            assert option in message, value
            assert "\n" not in message


@pytest.mark.parametrize(("override", "message"), [*MISSPELT, *WRONG_TYPE])
def test_what_hydra_refuses_is_named_with_what_is_like_it(override: str, message: str) -> None:
    with (
        initialize_config_dir(version_base="1.3", config_dir=str(REPOSITORY / "conf")),
        pytest.raises(HydraException) as caught,
    ):
        compose("config", overrides=[override])
    lines = told(caught.value)
    assert lines is not None
    assert message in lines[0]
    assert "\n" not in lines[0]


@pytest.mark.parametrize(("override", "message"), IMPOSSIBLE)
def test_what_cannot_be_is_named_with_what_can(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_options(compose_config("experiment=smoke", override))
    assert message in str(caught.value)


def test_a_rise_as_long_as_the_training_is_refused() -> None:
    config = compose_config("experiment=smoke", "classifier.optimizer.warmup=3")  # one epoch, batches of 8
    check_schedules(config, 32)
    with pytest.raises(InputError, match=r"classifier\.optimizer\.warmup=3: expected less than the 3 steps"):
        check_schedules(config, 31)
    config.recam.optimizer.warmup = 5
    config.recam.enabled = False
    check_schedules(config, 32)


def test_all_options_of_all_scripts_are_known() -> None:
    names = {*option_names()}
    assert {"classifier.optimizer.lr", "images", "checkpoint", "predictions"} <= names
    assert {*leaves(smoke())} - names <= {name for name in leaves(smoke()) if "augment" in name}  # null by default
