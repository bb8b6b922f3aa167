"""A run repeated from what its folder keeps, and compared with it: figures, files, and what both were made with."""

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from wsss.errors import InputError
from wsss.models.files import read_checkpoint
from wsss.pipeline.config import Config
from wsss.pipeline.environment import differences, environment, read_environment
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.process_group import wanted
from wsss.pipeline.processes import place
from wsss.pipeline.run import Run, kept_config
from wsss.pipeline.run_all import STEPS, run_steps
from wsss.reading import hash_file, read_figures
from wsss.writing import write_json

log = logging.getLogger(__name__)

# Options that may be others than the run's: where things lie, and how the work is done.
FREE = (
    *("reproduce", "reproduce_tolerance", "run", "outputs", "data.root", "trainer", "logger", "report"),
    *("cam.batch_size", "masks.jobs", "masks.backend", "masks.scheduler", "masks.walk.budget"),
    *("callbacks.lr_monitor", "callbacks.model_summary", "callbacks.bar_every", "callbacks.bar_stays"),
)
KINDS = {".pt": "weights", ".npz": "maps", ".png": "label maps"}  # files that are compared
# Parts of an environment that differ without meaning anything: what was typed, and when files were copied.
ASIDE = ("command", "data.files")


def reproduce(options: DictConfig, overrides: Sequence[str]) -> bool:
    """Repeat the run in `reproduce`, print and write how the two compare; whether all figures are equal.

    Args:
        options: as Hydra composed them.
        overrides: those of the command line; of the options only they are heeded.

    Raises:
        InputError: if there is no run to repeat, an override would change its results, or several processes are to.
    """
    source = Path(options.reproduce)
    config = reproduction_config(source, options, overrides)
    if (number := max(wanted(config.trainer), place().world)) > 1:
        one = "pass trainer.devices=1, without torchrun or srun"
        raise InputError(f"reproduce={source}: one process repeats a run, not {number}; {one}")
    run = Run(config)
    names = finished(source)
    log.info("repeating %s of %s in %s", ", ".join(names), source, run.folder)
    for line in data_changes(read_environment(source), environment(run)):
        log.warning(line)
    run_steps(run, names)
    record = compare(source, run.folder, options.reproduce_tolerance)
    write_json(run.folder / "reproduction.json", record)
    console = Console()
    console.print(_table(record))
    for line in _lines(record):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    log.info("wrote %s", run.folder / "reproduction.json")
    return bool(record["equal"])


def reproduction_config(source: Path, options: DictConfig, overrides: Sequence[str]) -> Config:
    """The run's own options in a new folder, and on top of them those overrides that leave the results alone."""
    source = source.resolve()
    config = kept_config(source)
    config.run, config.reuse, config.overwrite = f"{source.name}_reproduced", False, False
    config = OmegaConf.structured(config)
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        if not any(name == free or name.startswith(f"{free}.") for free in FREE):
            raise InputError(f"{override}: would change what reproduce={options.reproduce} repeats; leave it out")
        OmegaConf.update(config, name, OmegaConf.select(options, name))
    config.reproduce, config.reproduce_tolerance = None, 0.0  # the new run is one like any other
    repeated = OmegaConf.to_object(config)
    assert isinstance(repeated, Config)
    if (Path(repeated.outputs) / repeated.run).resolve() == source:
        raise InputError(f"run={repeated.run}: is the run that reproduce= repeats; choose another name")
    return repeated


def finished(source: Path) -> list[str]:
    """The parts of the pipeline that a run has finished."""
    done = {path.parent.name for path in _manifests(source)}
    names = [name for name in STEPS if name in done or (name == "report" and (source / "report/index.html").exists())]
    if not names or not (source / "results.json").exists():
        raise InputError(f"{source}: no step of this run is finished; there is nothing to compare with")
    return names


def data_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What to say before any work starts, of two environments."""
    if "data" not in before:
        return ["the run has no environment.json (it is of an older version): its data and versions are not known"]
    was, now = before["data"], after["data"]
    if was["sha256"] == now["sha256"]:
        return []
    number = "" if was["images"] == now["images"] else f", {was['images']} images before, {now['images']} now"
    return [f"the data has changed since ({was['name']}{number}): other figures are to be expected"]


def compare(source: Path, repeated: Path, tolerance: float = 0.0) -> dict[str, Any]:
    """Two runs' figures, files and environments, as plain values.

    Args:
        source: folder of the first.
        repeated: folder of the second.
        tolerance: by how much a figure may differ.

    Returns:
        `equal`: whether all figures are; `figures`: of each `before`, `after`, `difference`, `equal`; `files`: of each
        step and kind how many are `equal`, of how many; `environment` and `options`: lines of what differs.
    """
    was, now = read_environment(source), read_environment(repeated)
    before, after = (read_figures(folder / "results.json") for folder in (source, repeated))
    figures = {
        key: _figure(before.get(key), after.get(key), tolerance) for key in {**before, **after} if not _is_time(key)
    }
    trainers = [{"trainer": asdict(kept_config(folder).trainer)} for folder in (source, repeated)]
    aside = tuple(f"{name}:" for name in ASIDE)
    return {
        "of": str(source),
        "equal": all(figure["equal"] for figure in figures.values()),
        "tolerance": tolerance,
        "figures": figures,
        "files": _compare_files(source, repeated),
        "data": data_changes(was, now),
        "environment": [line for line in differences(was, now) if not line.startswith(aside)] if was else [],
        "options": [*differences(*trainers), *_other_options(source, repeated)],
    }


def _figure(before: float | None, after: float | None, tolerance: float) -> dict[str, Any]:
    if before is None or after is None:
        return {"before": before, "after": after, "difference": None, "equal": False}
    difference = round(after - before, 4)  # as figures are
    both_nan = math.isnan(before) and math.isnan(after)
    return {
        "before": before,
        "after": after,
        "difference": difference,
        "equal": both_nan or abs(difference) <= tolerance,
    }


def _is_time(key: str) -> bool:
    return key.startswith("time/") or key.endswith("seconds_per_image")


def _manifests(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*/manifest.json")) if read_manifest(path)["state"] == "done"]


def _compare_files(source: Path, repeated: Path) -> dict[str, dict[str, int]]:
    """How many of the files of each step and kind have equal contents."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"equal": 0, "of": 0})
    for folder in (path.parent for path in _manifests(source)):
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.suffix not in KINDS or name.parts[0] == "evaluation":  # evaluate.py's, which is no step
                continue
            twin = repeated / folder.name / name
            counts = found[f"{folder.name}: {KINDS[path.suffix]}"]
            counts["of"] += 1
            counts["equal"] += twin.exists() and _content(path) == _content(twin)
    return dict(found)


def _content(path: Path) -> str:
    """A hash of a file's bytes; of a model's tensors, beside which it keeps where its data lay."""
    if path.suffix != ".pt":
        return hash_file(path)
    digest = hashlib.sha256()
    for name, tensor in read_checkpoint(path)["state_dict"].items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _other_options(source: Path, repeated: Path) -> list[str]:
    """Options of steps that the run's config.yaml, which is of its newest step, no longer holds."""
    lines = []
    for path in _manifests(source):
        twin = repeated / path.parent.name / "manifest.json"
        if twin.exists():
            settings = [read_manifest(manifest)["settings"] for manifest in (path, twin)]
            lines += [f"{path.parent.name}: {line}" for line in differences(*settings)]
    return lines


def _table(record: Mapping[str, Any]) -> Table:
    table = Table("figure", "before", "now", "difference", "", title=Text(f"{record['of']}, repeated"))
    for key, figure in sorted(record["figures"].items()):
        before, after = ("none" if figure[name] is None else f"{figure[name]:.4f}" for name in ("before", "after"))
        difference = "" if figure["difference"] is None else f"{figure['difference']:+.4f}"
        table.add_row(Text(key), before, after, difference, "equal" if figure["equal"] else "differs")
    return table


def _lines(record: Mapping[str, Any]) -> list[str]:
    """What stands below the table."""
    lines = [f"files of equal content, {name}: {n['equal']} of {n['of']}" for name, n in record["files"].items()]
    lines += record["data"]
    lines += [f"environment, {line}" for line in record["environment"]] or ["environment: the same"]
    lines += [f"options, {line}" for line in record["options"]]
    if record["equal"]:
        return [*lines, "all figures are equal" + (f" within {record['tolerance']:g}" if record["tolerance"] else "")]
    return [
        *lines,
        "figures differ; docs/reproducibility.md tells what can be equal, reproduce_tolerance=… what must be",
    ]
