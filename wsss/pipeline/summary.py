"""Several runs side by side: the options in which they differ, and their figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.table import Table

from wsss.errors import InputError
from wsss.report.tables import format_value, name_figure
from wsss.writing import write_csv

Row = dict[str, Any]
# Options that never change a figure, and the name, which has a column of its own.
IGNORED = (
    *("run", "outputs", "overwrite", "reuse", "trainer", "logger", "report"),
    *("inference", "evaluation", "checkpoint"),
)
FIGURES = ("seeds/oracle_miou", "seeds/miou", "seeds/seconds_per_image", "masks/miou", "segmenter/val_miou")


def summarize(folders: Sequence[Path], figures: Sequence[str] = FIGURES) -> list[Row]:
    """One row a run.

    Args:
        folders: runs; each holds config.yaml, results.json and protocols.json.
        figures: keys of results.json; those that no run has are left out.

    Returns:
        Rows of `run`, the options that differ between the runs, the figures (None where a run lacks one), and the
        background threshold `<figure> at` behind those that have one.

    Raises:
        InputError: if there is no run, or a folder is none.
    """
    if not folders:
        raise InputError("no runs; name their folders, as `python scripts/summarize.py outputs/sweep/*`")
    options = [_options(folder) for folder in folders]
    results = [json.loads((folder / "results.json").read_text()) for folder in folders]
    protocols = [json.loads((folder / "protocols.json").read_text()) for folder in folders]
    names = dict.fromkeys(name for of_run in options for name in of_run)
    differing = [name for name in names if len({str(of_run.get(name)) for of_run in options}) > 1]
    known = [key for key in figures if any(key in of_run for of_run in results)]
    rows = []
    for folder, of_run, result, protocol in zip(folders, options, results, protocols, strict=True):
        row: Row = {"run": folder.name} | {name: of_run.get(name) for name in differing}
        for key in known:
            row[key] = result.get(key)
            if any("threshold" in p.get(key, {}) for p in protocols):
                row[f"{key} at"] = protocol.get(key, {}).get("threshold")
        rows.append(row)
    return rows


def summary_table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in rows[0]:
        table.add_column(_title(name), justify="right" if "/" in name else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(name, value) for name, value in row.items()))
    return table


def summary_markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(_title(name) for name in rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join([*lines, *("| " + " | ".join(_text(n, v) for n, v in row.items()) + " |" for row in rows)])


def write_summary(path: Path, rows: Sequence[Row]) -> None:
    """The rows as CSV, figures unrounded."""
    write_csv(path, list(rows[0]), [list(row.values()) for row in rows])


def _options(folder: Path) -> dict[str, Any]:
    """A run's options as flat `group.name`, without those that change no figure."""
    for name in ("config.yaml", "results.json", "protocols.json"):
        if not (folder / name).exists():
            raise InputError(f"{folder}: not a run with figures (no {name}); leave it out, or finish it")
    flat = _flat(OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")))
    return {name: value for name, value in flat.items() if name.split(".")[0] not in IGNORED}


def _flat(options: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(options, Mapping):
        return {prefix.removesuffix("."): options}
    return {name: value for key, inner in options.items() for name, value in _flat(inner, f"{prefix}{key}.").items()}


def _title(name: str) -> str:
    key, at, _ = name.partition(" at")
    if "/" not in key:
        return name
    return "at" if at else ", ".join(dict.fromkeys(name_figure(key)))


def _text(name: str, value: object) -> str:
    if value is None:
        return "–"
    if name.endswith(" at"):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return format_value(name, value) if isinstance(value, float) and "/" in name else str(value)
