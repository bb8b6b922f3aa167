"""A page of results that no hand has typed: tables described in YAML, measured by commands, rendered from small files.

A description (`TableSpec`) says which commands make a table's runs, and which figure of which run goes where.
`make_tables` runs them and keeps what the runs say of the table in `<page without suffix>/<table>.json`; `render_page`
(result_page.py) needs these files and the descriptions alone. docs/sweep_results.md shows one.
"""

import json
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wsss.errors import InputError
from wsss.metrics.statistics import spread
from wsss.pipeline.environment import read_environment
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.result_specs import TableSpec
from wsss.reading import finite
from wsss.writing import write_json

log = logging.getLogger(__name__)

SCORES = ("localization", "faithfulness", "drawing")  # folders of a run whose scores.json have a row a kind of map
PLACEHOLDER = re.compile(r"(?<!\$)\{(\w+)\}")  # `${…}` is Hydra's
MANY = 12  # lines that tell what is missing

Values = dict[tuple[str, str], dict[int, float]]  # labels of row and column -> random seed -> figure
Numbers = dict[str, Any]  # a table's file


def make_tables(
    specs: Mapping[str, TableSpec], folders: Mapping[str, Path], numbers: Path, root: Path, note: str = ""
) -> list[str]:
    """Run the tables' commands and write `<table>.json` of each whose runs are all there.

    Args:
        specs: name -> description, in the order in which they are measured.
        folders: what `{outputs}` and other names in commands stand for.
        numbers: folder of the tables' files.
        root: of the repository; commands start there.
        note: kept with the tables' figures: what their time and machine do not say.

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
        failed = run_commands(spec.commands, folders, finished, root)
        ill += [f"{name}: {line}" for line in failed]
        values, missing = read_values(found)
        if missing:
            finished.unlink(missing_ok=True)  # so that the next start makes what has been lost since
            ill += [f"{name}: {line}" for line in missing[:MANY]]
            ill += [f"{name}: and {len(missing) - MANY} more missing"] if len(missing) > MANY else []
        if failed or missing:
            continue
        write_json(numbers / f"{name}.json", table_numbers(spec, values, found, note))
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


def table_numbers(spec: TableSpec, values: Values, found: Sequence[Source], note: str = "") -> Numbers:
    """What a table's file holds: figures by random seed, their means, and how they came about."""
    cells: dict[str, dict[str, Any]] = {row.label: {} for row in spec.rows}
    for (row, column), of_cell in values.items():
        n, mean, std, *_ = spread([*of_cell.values()])
        cells[row][column] = {"n": n, "mean": _short(mean), "std": _short(std), "values": [*of_cell.values()]}
    return {
        "commands": spec.commands,
        "seeds": spec.seeds,
        "seconds": round(steps_seconds(found), 1),
        "machine": machines(found),
        "note": note,
        "cells": cells,
    }


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
