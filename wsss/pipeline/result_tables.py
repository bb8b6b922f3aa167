"""A page of results that no hand has typed: tables described in YAML, measured by commands, rendered from small files.

A description (`TableSpec`) says which commands make a table's runs, and which figure of which run goes where.
`make_tables` runs them and keeps what the runs say of the table in `<page without suffix>/<table>.json`; `render_page`
needs these files and the descriptions alone. docs/sweep_results.md shows one.
"""

import json
import logging
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.errors import InputError
from wsss.metrics.statistics import holm, paired_difference, spread
from wsss.models.weights import first_line
from wsss.pipeline.environment import read_environment
from wsss.pipeline.run import read_manifest, write_json
from wsss.report.comparison import finite
from wsss.report.sweep_tables import NONE, TextTable, p_text
from wsss.report.tables import format_time
from wsss.writing import write_text

log = logging.getLogger(__name__)

SCORES = ("localization", "faithfulness")  # folders of a run whose scores.json have a row a kind of map
PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")  # `${…}` is Hydra's
WIDTH, LINE = 110, 128  # of commands and of sentences
MANY = 12  # lines that tell what is missing

Values = dict[tuple[str, str], dict[int, float]]  # labels of row and column -> random seed -> figure
Numbers = dict[str, Any]  # a table's file


@dataclass
class RowSpec:
    """A row.

    Attributes:
        label: its first cell.
        values: what `{name}` stands for in this row's runs and figures.
        without: columns that say nothing here.
    """

    label: str = MISSING
    values: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


@dataclass
class ColumnSpec:
    """A column of figures.

    Attributes:
        label: its header.
        figure: key of results.json, or `localization/<split>/<kind>/<column>` of localize.py's table, or
            `faithfulness/…` of the other.
        run: see `TableSpec`; default: the table's.
        format: of Python.
    """

    label: str = MISSING
    figure: str = MISSING
    run: str | None = None
    format: str = ".1f"


@dataclass
class AgainstSpec:
    """Student's paired test over the random seeds, in two columns: the mean difference, and p after Holm's correction.

    Attributes:
        label: header of the difference.
        column: whose figures are tested.
        row: the control's row; default: the same.
        minus: the control's column; default: the same.
    """

    label: str = MISSING
    column: str = MISSING
    row: str | None = None
    minus: str | None = None


@dataclass
class TableSpec:
    """A table.

    Attributes:
        title: heading.
        data: what it was measured on, as a sentence without a full stop.
        minutes: core-minutes that it is thought to take; cheap tables are measured first.
        commands: of our scripts, from the repository's root, quoted as for a shell, though none sees them. `{outputs}`
            is the folder of the runs, any other `{name}` a folder of data.
        seeds: random seeds.
        run: folder of a cell's run under outputs; `{seed}` is the random seed, other `{name}` are `values`.
        values: what a row's `values` add to and override.
        head: header of the rows' labels.
        rows: from top to bottom.
        columns: from left to right.
        against: behind them.
        about: Markdown between the commands and the table: what the figures are.
        says: Markdown below it: what they say. Both are templates, in which `{{ cell(row, column).mean | number }}`,
            `{{ gain(row, other row, column) | signed }}`, `{{ best(column) }}` and
            `{{ test(row, label).p | number(3) }}` are read off the table.
    """

    title: str = MISSING
    data: str = MISSING
    minutes: float = MISSING
    commands: list[str] = MISSING
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    run: str = MISSING
    values: dict[str, str] = field(default_factory=dict)
    head: str = ""
    rows: list[RowSpec] = MISSING
    columns: list[ColumnSpec] = MISSING
    against: list[AgainstSpec] = field(default_factory=list)
    about: str = ""
    says: str = ""


def read_specs(folder: Path) -> dict[str, TableSpec]:
    """The tables described in a folder, `<name>.yaml` each, cheap ones first.

    Raises:
        InputError: if there is none, or one is at fault.
    """
    specs = {path.stem: read_spec(path) for path in sorted(folder.glob("*.yaml"))}
    if not specs:
        raise InputError(f"{folder}: describes no table; expected <name>.yaml")
    return dict(sorted(specs.items(), key=lambda named: named[1].minutes))


def read_spec(path: Path) -> TableSpec:
    """One description.

    Raises:
        InputError: if it cannot be read, lacks something, or names a row or column that is not there.
    """
    try:
        spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableSpec), OmegaConf.load(path)))
    except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the description of a table ({first_line(error)})") from None
    assert isinstance(spec, TableSpec)
    rows, columns = ([one.label for one in of_kind] for of_kind in (spec.rows, spec.columns))
    for labels in (rows, columns):
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise InputError(f"{path}: two are called {twice[0]}; give each row and column a label of its own")
    for test in spec.against:
        if test.row is None and test.minus is None:
            raise InputError(f"{path}: against {test.label}: name its control, a row or a column (minus), or both")
    named = [
        *((name, columns) for row in spec.rows for name in row.without),
        *((test.column, columns) for test in spec.against),
        *((test.minus, columns) for test in spec.against if test.minus is not None),
        *((test.row, rows) for test in spec.against if test.row is not None),
    ]
    for name, labels in named:
        if name not in labels:
            raise InputError(f"{path}: nothing is called {name}; there are {', '.join(labels)}")
    return spec


def make_tables(specs: Mapping[str, TableSpec], folders: Mapping[str, Path], numbers: Path, root: Path) -> list[str]:
    """Run the tables' commands and write `<table>.json` of each whose runs are all there.

    Args:
        specs: name -> description, in the order in which they are measured.
        folders: what `{outputs}` and other names in commands stand for.
        numbers: folder of the tables' files.
        root: of the repository; commands start there.

    Returns:
        A line for each command that failed and each run or figure that is missing; their tables keep their files.
    """
    ill = []
    for name, spec in specs.items():
        lacking = sorted({*PLACEHOLDER.findall(" ".join(spec.commands))} - {*folders})
        if lacking:
            log.warning("%s: skipped, its data was not given (--data %s=<folder>)", name, lacking[0])
            continue
        found = sources(spec, folders["outputs"])
        log.info("%s: thought to take %g core-minutes", name, spec.minutes)
        finished = folders["outputs"] / ".results" / f"{name}.json"
        ill += [f"{name}: {line}" for line in run_commands(spec.commands, folders, finished, root)]
        values, missing = read_values(found)
        if missing:
            finished.unlink(missing_ok=True)  # so that the next start makes what has been lost since
            ill += [f"{name}: {line}" for line in missing[:MANY]]
            ill += [f"{name}: and {len(missing) - MANY} more missing"] if len(missing) > MANY else []
            continue
        write_json(numbers / f"{name}.json", table_numbers(spec, values, found))
    return ill


def run_commands(commands: Sequence[str], folders: Mapping[str, Path], finished: Path, root: Path) -> list[str]:
    """Run what has not ended well before; a line for each command that fails.

    Args:
        commands: see `TableSpec`.
        folders: see `make_tables`.
        finished: file that remembers which have. Steps within a command know that for themselves.
        root: where they start.
    """
    done: list[str] = json.loads(finished.read_text()) if finished.exists() else []
    failed = []
    for command in commands:
        argv = [PLACEHOLDER.sub(lambda name: str(folders[name[1]]), part) for part in shlex.split(command)]
        told = shlex.join(argv)
        if told in done:
            log.info("finished before: %s", told)
            continue
        log.info("python %s", told)
        status = subprocess.run([sys.executable, *argv], cwd=root, check=False).returncode
        if status:
            failed.append(f"status {status}: python {told}")
        else:
            done.append(told)
            write_json(finished, done)
    return failed


class Source(NamedTuple):
    """Where a cell's figure of a random seed stands: labels of row and column, seed, folder of the run, key."""

    cell: tuple[str, str]
    seed: int
    folder: Path
    key: str


def sources(spec: TableSpec, outputs: Path) -> list[Source]:
    """All that a table looks at.

    Raises:
        InputError: if a run or figure has a name that no value stands for.
    """
    found = []
    for row in spec.rows:
        for column in (column for column in spec.columns if column.label not in row.without):
            for seed in spec.seeds:
                names = {**spec.values, **row.values, "seed": str(seed)}
                try:
                    run, key = (text.format(**names) for text in (column.run or spec.run, column.figure))
                except (KeyError, IndexError, ValueError) as error:
                    place = f"{spec.title}: row {row.label}, column {column.label}"
                    raise InputError(f"{place}: no value for {error}; add it to `values`") from None
                found.append(Source((row.label, column.label), seed, outputs / run, key))
    return found


def read_values(found: Sequence[Source]) -> tuple[Values, list[str]]:
    """Figures by random seed, and a line for each that is not there."""
    figures = {folder: run_figures(folder) for folder in dict.fromkeys(source.folder for source in found)}
    values: Values = {}
    missing: dict[str, None] = {}
    for cell, seed, folder, key in found:
        if key in figures[folder]:
            values.setdefault(cell, {})[seed] = figures[folder][key]
        else:
            missing[f"{folder}: no figure {key}" if figures[folder] else f"{folder}: no run with figures"] = None
    return values, [*missing]


def run_figures(folder: Path) -> dict[str, float]:
    """Figures of results.json, and those of maps as `localization/<split>/<kind>/<column>`; empty without any."""
    path = folder / "results.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for path in (path for place in SCORES for path in folder.glob(f"{place}/*/scores.json")):
        place = path.parent.relative_to(folder).as_posix()
        kinds = json.loads(path.read_text())["kinds"]
        found |= {f"{place}/{kind}/{name}": value for kind, row in kinds.items() for name, value in row.items()}
    return finite(found)


def table_numbers(spec: TableSpec, values: Values, found: Sequence[Source]) -> Numbers:
    """What a table's file holds: means, tests, and how they came about."""
    cells: dict[str, dict[str, Any]] = {row.label: {} for row in spec.rows}
    for (row, column), of_cell in values.items():
        n, mean, std, *_ = spread([*of_cell.values()])
        cells[row][column] = {"n": n, "mean": _short(mean), "std": _short(std), "values": [*of_cell.values()]}
    return {
        "commands": spec.commands,
        "seeds": spec.seeds,
        "seconds": round(steps_seconds(found), 1),
        "machine": machines(found),
        "note": "",
        "cells": cells,
        "against": differences(spec, values),
    }


def differences(spec: TableSpec, values: Values) -> dict[str, dict[str, Any]]:
    """Row -> label of the test -> its number of pairs, mean difference and corrected p."""
    found: dict[str, dict[str, Any]] = {row.label: {} for row in spec.rows}
    for test in spec.against:
        tested = []
        for row in found:
            control = (test.row or row, test.minus or test.column)
            is_control = control == (row, test.column)
            of_row = {} if is_control else values.get((row, test.column), {})
            tested.append(paired_difference(of_row, values.get(control, {})))
        corrected = holm([None if difference is None else difference.p for difference in tested])
        for row, difference, p in zip(found, tested, corrected, strict=True):
            if difference is not None:
                found[row][test.label] = {"n": difference.n, "mean": _short(difference.mean), "p": _short(p)}
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def steps_seconds(found: Iterable[Source]) -> float:
    """Seconds that the runs' steps took, each once however many runs share it, and the looks at maps that are shown."""
    seconds: dict[object, float] = {}
    for folder in {source.folder for source in found}:
        for manifest in map(read_manifest, folder.glob("*/manifest.json")):
            seconds[manifest["step"], manifest["fingerprint"]] = manifest["seconds"]
    shown = {source.folder.joinpath(*source.key.split("/")[:2]) for source in found if source.key.startswith(SCORES)}
    for folder in shown:
        seconds[folder] = json.loads((folder / "scores.json").read_text()).get("seconds", 0.0)
    return sum(seconds.values())


def machines(found: Iterable[Source]) -> str:
    """What the runs were measured on."""
    environments = map(read_environment, dict.fromkeys(source.folder for source in found))
    return "; ".join(dict.fromkeys(_machine(environment) for environment in environments if environment))


def _machine(environment: Mapping[str, Any]) -> str:
    machine, threads = environment["machine"], environment["torch"]["threads"]
    many = "" if threads == 1 else "s"
    return ", ".join([*environment["gpus"], machine["cpu"], f"{machine['cores']} cores", f"{threads} thread{many}"])


def render_page(template: Path, specs: Mapping[str, TableSpec], numbers: Path) -> str:
    """The page: a Jinja template in which `{{ table("<name>") }}` is a table's section.

    Raises:
        InputError: if the template cannot be rendered, or a table's file and description do not belong together.
    """

    def table(name: str) -> str:
        if name not in specs:
            raise InputError(f"{template}: no table is called {name}; there are {', '.join(specs)}")
        return render_table(specs[name], numbers / f"{name}.json")

    try:
        return _environment().from_string(template.read_text()).render(table=table)
    except (TemplateError, OSError) as error:
        raise InputError(f"{template}: {first_line(error)}") from None


def render_table(spec: TableSpec, path: Path) -> str:
    """A table's section, from its heading on; without its file it says that it was not measured.

    Raises:
        InputError: if the file was measured by other commands, or lacks what the description asks for.
    """
    heading, commands = f"## {spec.title}", "\n".join(map(_shown, spec.commands))
    listed, many = ", ".join(map(str, spec.seeds)), "s" if len(spec.seeds) > 1 else ""
    data = f"{spec.data}; random seed{many} {listed}."
    if not path.exists():
        expected = f"Not measured yet; thought to take {spec.minutes:g} core-minutes."
        return f"{heading}\n\n{_filled(data, expected)}\n\n{commands}"
    try:
        numbers: Numbers = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not readable ({error}); measure {path.stem} again") from None
    if (numbers["commands"], numbers["seeds"]) != (spec.commands, spec.seeds):
        raise InputError(f"{path}: measured by other commands than the table has now; measure {path.stem} again")
    try:
        about, says = (_prose(text, spec, numbers).strip() for text in (spec.about, spec.says))
        table = text_table(spec, numbers).markdown()
    except KeyError as error:
        wanted = f"{path}: nothing of {error}"
        raise InputError(f"{wanted}; measure {path.stem} again, or correct what asks for it") from None
    except TemplateError as error:
        raise InputError(f"{path.stem}: {first_line(error)}") from None
    known = _filled(data, _measured(numbers), numbers["note"])
    return "\n\n".join(filter(None, [heading, known, commands, about, table, says]))


def _filled(*sentences: str) -> str:
    return textwrap.fill(" ".join(filter(None, sentences)), LINE, break_long_words=False, break_on_hyphens=False)


def _measured(numbers: Numbers) -> str:
    """Time and machine in a sentence; nothing where a table's file does not know them."""
    if not numbers["seconds"]:
        return ""
    machine = f" on {numbers['machine']}" if numbers["machine"] else ""
    return f"The steps took {format_time(numbers['seconds'])}{machine}."


def text_table(spec: TableSpec, numbers: Numbers) -> TextTable:
    """The table, with each random seed's figure beside the mean."""
    header = [spec.head, *(column.label for column in spec.columns)]
    header += [title for test in spec.against for title in (test.label, "p")]
    rows = []
    for row in spec.rows:
        cells, tested = numbers["cells"][row.label], numbers["against"][row.label]
        texts = [
            NONE if column.label in row.without else _cell_text(cells[column.label], column.format)
            for column in spec.columns
        ]
        for test in spec.against:
            found = tested.get(test.label)
            texts += [NONE, NONE] if found is None else [_signed(found["mean"]), p_text(found["p"])]
        rows.append([row.label, *texts])
    return TextTable(header, rows, set(range(1, len(header))))


def _cell_text(cell: Mapping[str, Any], form: str) -> str:
    text = f"{cell['mean']:{form}}"
    if cell["std"] is not None:
        text += f" ± {cell['std']:{form}}"
    if len(cell["values"]) > 1:
        text += f" ({' / '.join(f'{value:{form}}' for value in cell['values'])})"
    return text


def _shown(command: str) -> str:
    """A command as it is typed from the repository's root, indented as code."""
    plain = command.replace(" outputs={outputs}", "").replace("{outputs}", "outputs")
    plain = PLACEHOLDER.sub(r"<\1>", plain)
    lines = textwrap.wrap(f"python {plain}", WIDTH, break_long_words=False, break_on_hyphens=False)
    return "    " + " \\\n      ".join(lines)


def _prose(text: str, spec: TableSpec, numbers: Numbers) -> str:
    """Markdown with what its expressions read off the table."""
    cells = numbers["cells"]

    def cell(row: str, column: str) -> dict[str, Any]:
        found: dict[str, Any] = cells[row][column]
        return found

    def gain(row: str, other: str, column: str) -> float:
        return float(cell(row, column)["mean"] - cell(other, column)["mean"])

    def best(column: str) -> str:
        said = [row.label for row in spec.rows if column not in row.without]
        return max(said, key=lambda row: float(cell(row, column)["mean"]))

    def test(row: str, label: str) -> dict[str, Any]:
        found: dict[str, Any] = numbers["against"][row][label]
        return found

    return _environment().from_string(text).render(cell=cell, gain=gain, best=best, test=test)


def _environment() -> Environment:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": _number, "signed": _signed}
    return environment


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _signed(value: float, digits: int = 1) -> str:
    rounded = round(value, digits) + 0.0  # not −0
    return f"{rounded:+.{digits}f}".replace("-", "−")


def write_page(path: Path, template: Path, specs: Mapping[str, TableSpec]) -> None:
    """Render the page from the tables' files, which lie in the folder of its name without suffix."""
    write_text(path, render_page(template, specs, path.with_suffix("")))
    log.info("wrote %s", path)
