"""What a sweep ends in: its runs read, compared over random seeds, and written as tables, pictures and a page."""

import json
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

import wsss
from wsss.errors import InputError, first_line
from wsss.pipeline.sweep_record import SWEEP_FILE, jobs_of, read_job
from wsss.pipeline.yaml_files import NOT_OPTIONS, load_plain_yaml
from wsss.reading import finite, read_json
from wsss.report.comparison import Comparison, Options, SweptRun, compare, differing_options
from wsss.report.sweep_page import write_sweep_page
from wsss.report.sweep_tables import left_out_lines, overview, runs_csv, summary_csv, summary_json, verdict
from wsss.writing import write_csv, write_json

log = logging.getLogger(__name__)

FIGURES = ("seeds/oracle_miou", "seeds/miou", "seeds/seconds_per_image", "masks/miou", "segmenter/val_miou")
# Options that never change a figure, and those that have a column of their own.
IGNORED = (
    *("run", "seed", "outputs", "overwrite", "reuse", "until", "trainer", "logger", "report"),
    *("inference", "evaluation", "checkpoint", "hydra", "sweep", "plan", "hardware"),
)
# What the best setting's command leaves out: it is a run of its own, and of the whole pipeline.
NOT_PASTED = ("run", "seed", "overwrite", "until", "hydra", "sweep", "hparams_search")


@dataclass(frozen=True)
class SweepSummary:
    """A comparison, and how its runs were started.

    Attributes:
        comparison: the settings.
        command: what started the sweep; empty where that is not known.
        best_command: the best setting, ready to be pasted (see `_best_command`); empty where there is none.
    """

    comparison: Comparison
    command: str
    best_command: str


def summarize_sweep(folder: Path, *, figures: Sequence[str] = FIGURES, control: Sequence[str] = ()) -> Path:
    """Write and show what a sweep says; see `read_sweep` and `write_sweep`.

    Args:
        folder: `outputs/<sweep>`.
        figures: keys of results.json to show.
        control: overrides of the setting to compare with; default: the experiment's own, else the first.

    Returns:
        Path of the page.
    """
    summary = read_sweep([folder], control=control)
    page = write_sweep(folder, summary, figures=figures)
    print_sweep(summary, figures=figures)
    log.info("wrote %s", page)
    return page


def read_sweep(folders: Sequence[Path], *, control: Sequence[str] = ()) -> SweepSummary:
    """Compare runs.

    Args:
        folders: runs, or folders of runs, with `sweep.json` (how they were started, and how that ended) or without.
        control: overrides of the setting to compare with.

    Raises:
        InputError: if there is no run with figures and no record of why, or no setting is the control.
    """
    if not folders:
        raise InputError("no runs; name their folders, as `python scripts/summarize.py outputs/sweep`")
    records = {folder: _record(folder) for folder in folders if (folder / SWEEP_FILE).exists()}
    runs = [run for folder in folders for run in _runs(folder, records.get(folder))]
    if not records and all(run.state != "done" for run in runs):
        raise InputError(f"{runs[0].folder}: not a run with figures ({runs[0].reason}); leave it out, or finish it")
    defaults = None
    # What was typed says best what differs: a group such as `cam=grad_cam` stands for many options.
    if len(records) == 1 and runs and all(run.overrides for run in runs):
        runs = [replace(run, options=_swept(run)) for run in runs]
        defaults = _defaults(runs)
    comparison = compare(runs, control=dict(map(_parse, control)), defaults=defaults)
    record = next(iter(records.values()), {})
    command = str(record.get("command", "")) if len(folders) == 1 else ""
    return SweepSummary(comparison, command, _best_command(comparison, record.get("overrides", ()), folders[0].name))


def write_sweep(folder: Path, summary: SweepSummary, *, figures: Sequence[str] = FIGURES) -> Path:
    """Write `runs.csv`, `summary.csv`, `summary.json`, pictures and `index.html`; returns the page's path."""
    comparison = summary.comparison
    write_csv(folder / "runs.csv", *runs_csv(comparison))
    write_csv(folder / "summary.csv", *summary_csv(comparison))
    write_json(folder / "summary.json", summary_json(comparison))
    return write_sweep_page(
        folder, comparison, figures=figures, best_command=summary.best_command, command=summary.command
    )


def print_sweep(summary: SweepSummary, *, figures: Sequence[str] = FIGURES, markdown: bool = False) -> None:
    """Show the table, what it says, the runs left out and the best setting's command; or the table as Markdown."""
    console = Console(highlight=False)
    comparison = summary.comparison
    table = overview(comparison, figures)
    if markdown:
        console.print(table.markdown(), soft_wrap=True, markup=False)
        return
    if table.rows:
        console.print(table.rich())
    lines = verdict(comparison)
    if len(comparison.settings) > 1:
        lines.append(f"Control: {comparison.control}.")
    lines += [f"left out: {line}" for line in left_out_lines(comparison)]
    for line in lines + ([summary.best_command] if summary.best_command else []):
        console.print(line, soft_wrap=True, markup=False)


def _record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / SWEEP_FILE)
    return {**record, "jobs": jobs_of(folder, record)}


def _runs(folder: Path, record: Mapping[str, Any] | None) -> list[SweptRun]:
    """The runs of a sweep, or of a folder of runs; or the folder as a run."""
    if record is not None:
        return [_run(folder / job["run"], job) for job in record["jobs"]]
    return [_run(path, {}) for path in (_inner(folder) if is_sweep(folder) else [folder])]


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds runs, rather than being one."""
    return is_recorded(folder) or (not _is_run(folder) and bool(_inner(folder)))


def is_recorded(folder: Path) -> bool:
    """Whether a folder is that of a sweep, which its summary goes to."""
    return (folder / SWEEP_FILE).is_file()


def check_figures(summary: SweepSummary, figures: Sequence[str]) -> None:
    """Refuse a figure that no run has.

    Raises:
        InputError: naming those there are.
    """
    runs = [run for setting in summary.comparison.settings for run in setting.runs]
    known = sorted({key for run in runs for key in run.figures or ()})
    for key in figures:
        if key not in known:
            raise InputError(f"--figures {key}: no run has it; there are {', '.join(known)}")


def _inner(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_run(path)] if folder.is_dir() else []


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", "results.json"))


def _run(folder: Path, job: Mapping[str, Any]) -> SweptRun:
    """A run as it lies there; `job` is what the sweep knows of it, and its own file knows better (of one under way)."""
    job = {**job, **{name: value for name, value in read_job(folder).items() if value is not None}}
    state, reason = job.get("state", "done"), job.get("reason")
    if state == "done" and reason != "pruned":
        reason = None  # of an earlier start
    config, results, protocols = ({}, {}, {})
    try:
        config = _read(folder / "config.yaml")
        results = _read(folder / "results.json")
        protocols = _read(folder / "protocols.json")
    except InputError as error:
        if state == "done":
            state, reason = "unfinished", str(error)
    overrides = job.get("overrides", [])
    options = {name: value for name, value in _flat(config).items() if not _is_any(name, IGNORED)}
    thresholds = {key: protocol.get("threshold") for key, protocol in protocols.items() if isinstance(protocol, dict)}
    return SweptRun(
        folder,
        state,
        reason or (None if state == "done" else "no reason recorded"),
        seed=config.get("seed", dict(map(_parse, overrides)).get("seed")),
        options=options or None,
        figures=finite(results),
        thresholds=finite(thresholds),
        overrides=overrides,
        seconds=job.get("seconds"),
    )


def _read(path: Path) -> dict[str, Any]:
    """A mapping of YAML, which JSON is too."""
    if not path.is_file():
        raise InputError(f"no {path.name}")
    try:
        found = OmegaConf.to_container(load_plain_yaml(path)) if path.suffix == ".yaml" else read_json(path)
    except NOT_OPTIONS as error:
        raise InputError(f"{path.name} cannot be read ({first_line(error)})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path.name} is no mapping")
    return found  # type: ignore[return-value]


def _flat(options: Any, prefix: str = "") -> Options:
    """Options as `group.name`."""
    if not isinstance(options, Mapping):
        return {prefix.removesuffix("."): options}
    return {name: value for key, inner in options.items() for name, value in _flat(inner, f"{prefix}{key}.").items()}


def _is_any(name: str, names: Sequence[str]) -> bool:
    """Whether an option is one of these, or in one of these groups."""
    return re.split(r"[./]", name)[0] in names


def _parse(override: str) -> tuple[str, Any]:
    """Name and value of a `name=value`.

    Raises:
        InputError: if it is none.
    """
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        raise InputError(f"{override}: expected <option>=<value>, as recam.sce_weight=0") from None
    return parsed.key_or_group, parsed.value()


def _swept(run: SweptRun) -> Options:
    """What a run was started with, without what changes no figure."""
    return {name: value for name, value in map(_parse, run.overrides) if not _is_any(name, IGNORED)}


def _defaults(runs: Sequence[SweptRun]) -> Options:
    """What the options that differ are where nothing sets them but the experiment; empty if it is not known."""
    names = differing_options([run.options for run in runs if run.options is not None])
    fixed = [o for o in runs[0].overrides if (name := _parse(o)[0]) not in names and not _is_any(name, IGNORED)]
    conf = Path(wsss.__file__).parents[1] / "conf"
    is_ready = GlobalHydra.instance().is_initialized()  # at the end of a multirun Hydra is at work already
    try:
        with nullcontext() if is_ready else initialize_config_dir(version_base="1.3", config_dir=str(conf)):
            config = compose("config", overrides=fixed, return_hydra_config=True)
        choices = config.hydra.runtime.choices
        return {name: choices[name] if name in choices else _plain(OmegaConf.select(config, name)) for name in names}
    except (HydraException, OmegaConfBaseException):  # of another version, or of a script with a root of its own
        return {}


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _best_command(comparison: Comparison, common: Sequence[str], sweep: str) -> str:
    """The best setting as a command of a run of its own; of runs without a record, what to add to theirs.

    Args:
        comparison: the sweep.
        common: what the sweep was started with, its lists of values included.
        sweep: its name.
    """
    best = comparison.best
    if best is None:
        return ""
    own = best.runs[0].overrides
    if not own:
        options = [f"{name}={_hydra_text(value)}" for name, value in best.options.items()]
        return " ".join(["the runs' own command with", *map(shlex.quote, options)]) if options else ""
    names = {*map(_name, own)}
    overrides = [*(override for override in common if _name(override) not in names), *own]
    own_to_sweeps = "cam.drawn_stages"  # maps for all jobs, of which one needs its own alone
    kept = [o for o in overrides if not _is_any(_name(o), NOT_PASTED) and _name(o) != own_to_sweeps]
    return shlex.join(["python", "scripts/run_pipeline.py", *kept, f"run={_hydra_text(f'{sweep}_best')}"])


def _name(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _hydra_text(value: Any) -> str:
    """A value as Hydra reads it on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_hydra_text, value))}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z_][\w./-]*", value, flags=re.ASCII):
        return str(value)
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
