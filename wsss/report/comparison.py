"""Runs of a sweep put side by side: settings over random seeds, each against its control."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from wsss.errors import InputError
from wsss.metrics.statistics import Difference, Spread, holm, paired_difference, spread

CHAIN = ("segmenter/val_miou", "masks/miou", "seeds/miou")  # the latest first
CONTROL_MIOU = "seeds/control/miou"

Options = dict[str, Any]


@dataclass(frozen=True)
class SweptRun:
    """One run, finished or not.

    Attributes:
        folder: where it lies.
        state: done, failed, unfinished, or repeated (a setting and random seed that another run has too).
        reason: why it is not done.
        seed: random seed.
        options: name -> value; of the runs of one comparison, those that may differ.
        figures: finite figures of results.json.
        thresholds: figure -> background threshold it was measured at.
        overrides: what it was started with, if known.
        seconds: how long it took, if known.
    """

    folder: Path
    state: str = "done"
    reason: str | None = None
    seed: int | None = None
    options: Options | None = None
    figures: Mapping[str, float] | None = None
    thresholds: Mapping[str, float] | None = None
    overrides: Sequence[str] = ()
    seconds: float | None = None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their random seed alone.

    Attributes:
        options: what sets it apart from the others.
        runs: one a random seed, all done.
        control: place of the setting it is compared with; None for a control, and where its control is missing.
    """

    options: Options
    runs: Sequence[SweptRun]
    control: int | None = None

    def values(self, key: str) -> dict[int | None, float]:
        """Random seed -> figure, of the runs that have it."""
        return {run.seed: run.figures[key] for run in self.runs if run.figures and key in run.figures}

    def spread(self, key: str) -> Spread | None:
        """Mean over the random seeds, if any run has the figure."""
        values = list(self.values(key).values())
        return spread(values) if values else None


@dataclass(frozen=True)
class Comparison:
    """A sweep as settings.

    Attributes:
        names: the options that differ.
        settings: ordered by their options.
        runs: all, also those that are in no setting.
        control: in words, what the settings are compared with.
    """

    names: Sequence[str]
    settings: Sequence[Setting]
    runs: Sequence[SweptRun]
    control: str

    @property
    def figures(self) -> list[str]:
        """Keys that any setting has."""
        return list(dict.fromkeys(key for s in self.settings for run in s.runs for key in run.figures or {}))

    @property
    def headline(self) -> str | None:
        """The figure that the sweep is judged by: the latest of the chain that any setting has."""
        return next((key for key in CHAIN if key in self.figures), None)

    @property
    def best(self) -> Setting | None:
        """The setting with the highest mean of the headline figure."""
        if (key := self.headline) is None:
            return None
        means = [(s.mean, setting) for setting in self.settings if (s := setting.spread(key))]
        return max(means, key=lambda pair: pair[0])[1]

    @property
    def left_out(self) -> list[SweptRun]:
        """Runs that are in no setting."""
        return [run for run in self.runs if run.state != "done"]


class Tested(NamedTuple):
    """A difference, and its p corrected for all those made with it."""

    difference: Difference
    p_holm: float | None


class KindTest(NamedTuple):
    """A ReCAM map against the map of the control that was trained in the same runs."""

    setting: Setting
    key: str
    tested: Tested


def compare(runs: Sequence[SweptRun], *, control: Options | None = None, defaults: Options | None = None) -> Comparison:
    """Group runs into settings, and say what each is compared with.

    Args:
        runs: their options may hold more than what differs.
        control: options of the control. Where they leave others open, a setting's control is the one that differs from
            it in these options alone.
        defaults: option -> value it has where nothing sets it; the setting that has them all is the control where none
            is named. Failing that, the first is.

    Raises:
        InputError: if no setting is the control that was asked for.
    """
    names = differing_options([run.options for run in runs if run.options is not None])
    groups: dict[str, dict[int | None, SweptRun]] = {}
    kept = []
    for run in runs:
        if run.state == "done":
            group = groups.setdefault(_key([(run.options or {}).get(name) for name in names]), {})
            first = group.setdefault(run.seed, run)
            if first is not run:
                run = replace(run, state="repeated", reason=f"same options and random seed as {first.name}")
        kept.append(run)
    settings = [
        Setting({name: (next(iter(group.values())).options or {}).get(name) for name in names}, list(group.values()))
        for group in groups.values()
    ]
    settings.sort(key=lambda setting: [_rank(value) for value in setting.options.values()])
    if len(settings) < 2:
        return Comparison(names, settings, kept, "nothing")
    wanted, said = _named_control(names, settings, control) if control else _default_control(settings, defaults or {})
    return Comparison(names, _with_controls(settings, wanted), kept, said)


def differing_options(options: Sequence[Options]) -> list[str]:
    """Options that have more than one value."""
    names = dict.fromkeys(name for of_run in options for name in of_run)
    return [name for name in names if len({_key(of_run.get(name)) for of_run in options}) > 1]


def control_differences(comparison: Comparison, key: str) -> list[Tested | None]:
    """Each setting against its control by one figure; None for controls, and without a common random seed."""
    settings = comparison.settings
    differences = [
        None if s.control is None else paired_difference(s.values(key), settings[s.control].values(key))
        for s in settings
    ]
    corrected = holm([None if d is None else d.p for d in differences])
    return [None if d is None else Tested(d, p) for d, p in zip(differences, corrected, strict=True)]


def kind_tests(comparison: Comparison) -> list[KindTest]:
    """ReCAM's maps against those of as many epochs of BCE alone, where `recam.control=true` trained both in a run."""
    keys = [key for key in comparison.figures if key.startswith("seeds/recam") and key.endswith("/miou")]
    found = [
        (setting, key, difference)
        for setting in comparison.settings
        for key in keys
        if (difference := paired_difference(setting.values(key), setting.values(CONTROL_MIOU)))
    ]
    corrected = holm([difference.p for _, _, difference in found])
    return [KindTest(s, key, Tested(d, p)) for (s, key, d), p in zip(found, corrected, strict=True)]


def swept_options(comparison: Comparison) -> dict[str, list[Any]]:
    """The options to draw, each with its values in order; of those that always change together, the first."""
    columns: dict[str, list[str]] = {}
    for name in comparison.names:
        column = [_key(setting.options[name]) for setting in comparison.settings]
        pairs = [len({*zip(column, other, strict=True)}) for other in columns.values()]
        sizes = [len({*other}) for other in columns.values()]
        together = any(n == size == len({*column}) for n, size in zip(pairs, sizes, strict=True))
        if len({*column}) > 1 and not together:
            columns[name] = column
    values = {name: {_key(s.options[name]): s.options[name] for s in comparison.settings} for name in columns}
    return {name: sorted(of_name.values(), key=_rank) for name, of_name in values.items()}


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether an option's values lie on an axis."""
    return all(_is_number(value) for value in values)


def same(first: object, second: object) -> bool:
    """Whether two values of an option are one: 1 is 1.0."""
    return _key(first) == _key(second)


def _with_controls(settings: Sequence[Setting], wanted: Options) -> list[Setting]:
    """Settings with the place of their control: the setting of the same options but for those that are `wanted`."""
    places = {_key(setting.options): place for place, setting in enumerate(settings)}
    found = []
    for place, setting in enumerate(settings):
        control = places.get(_key(setting.options | wanted))
        found.append(replace(setting, control=None if control == place else control))
    return found


def _named_control(names: Sequence[str], settings: Sequence[Setting], control: Options) -> tuple[Options, str]:
    said = setting_text(control)
    if unknown := [name for name in control if name not in names]:
        raise InputError(f"control {said}: {unknown[0]} does not differ between the runs; {', '.join(names)} does")
    if not any(all(same(s.options[name], value) for name, value in control.items()) for s in settings):
        raise InputError(f"control {said}: no finished run has it")
    return control, said


def _default_control(settings: Sequence[Setting], defaults: Options) -> tuple[Options, str]:
    for setting in settings:
        if all(name in defaults and same(defaults[name], value) for name, value in setting.options.items()):
            return setting.options, f"{setting_text(setting.options)}, as the experiment has it"
    first = settings[0].options
    return first, f"{setting_text(first)}, the first setting, as none is known to have the experiment's own options"


def setting_text(options: Options) -> str:
    """A setting in words."""
    return ", ".join(f"{name} {option_text(value)}" for name, value in options.items()) or "the one setting"


def short_names(names: Sequence[str]) -> list[str]:
    """Options without their groups, where that leaves them apart."""
    last = [name.rpartition(".")[2] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def option_text(value: object) -> str:
    """A value of an option, short: stages by their numbers, `[stage3, stage4, stage5]` as 3–5."""
    stages = [re.fullmatch(r"stage(\d+)", str(item)) for item in (value if isinstance(value, list) else [value])]
    numbers = [int(stage[1]) for stage in stages if stage]
    if stages and len(numbers) == len(stages):
        is_range = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
        return f"{numbers[0]}–{numbers[-1]}" if is_range else ", ".join(map(str, numbers))
    if isinstance(value, list):
        return ", ".join(option_text(item) for item in value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def _key(value: object) -> str:
    """What tells values apart."""
    return json.dumps(_floats(value), sort_keys=True, default=str)


def _floats(value: object) -> object:
    if isinstance(value, list):
        return [_floats(item) for item in value]
    if isinstance(value, dict):
        return {name: _floats(item) for name, item in value.items()}
    return float(value) if _is_number(value) else value  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rank(value: object) -> tuple[int, float, str]:
    """Order of an option's values: none, numbers, then the rest by its length and letters."""
    if value is None:
        return 0, 0.0, ""
    if _is_number(value):
        return 1, float(value), ""  # type: ignore[arg-type]
    return (2, float(len(value)) if isinstance(value, list) else 0.0, str(value))
