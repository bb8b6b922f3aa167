"""What every script does around its one function: options in, log and one-line errors out."""

import functools
import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from wsss.errors import InputError, WorkerDiedError
from wsss.pipeline.config import Config
from wsss.pipeline.evaluate import FoldersConfig
from wsss.pipeline.explain import ExplainConfig
from wsss.pipeline.export_model import ExportConfig
from wsss.pipeline.options import check_options, for_processes
from wsss.pipeline.predict import PredictConfig
from wsss.pipeline.processes import (
    end_on_signals,
    first_speaks,
    in_turn,
    interrupted_status,
    is_first,
    join,
    leave,
    on_first,
    place,
    start,
    wanted,
    was_started_here,
)
from wsss.pipeline.refusals import told
from wsss.pipeline.run import Run
from wsss.pipeline.run_lock import sole_start
from wsss.pipeline.sweep import is_job_of_sweep, register
from wsss.pipeline.sweep_record import recorded
from wsss.pipeline.sweep_stages import MULTIRUN, share_stages
from wsss.report import results_table

OmegaConf.register_new_resolver("script_doc", lambda: sys.modules["__main__"].__doc__ or "", replace=True)  # for --help
# The types that the root config.yaml of conf and of its folders are checked against.
ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(name="explain_schema", node=ExplainConfig)
ConfigStore.instance().store(name="evaluate_schema", node=FoldersConfig)
ConfigStore.instance().store(name="predict_schema", node=PredictConfig)
ConfigStore.instance().store(name="export_schema", node=ExportConfig)
register()


def script(config: str = "") -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Make a function of the options a script's `main`: Hydra composes them, and its errors are one line like ours.

    Args:
        config: folder under conf/ that holds the root `config.yaml`; default: conf itself.
    """

    def decorate(work: Callable[[DictConfig], None]) -> Callable[[], None]:
        conf = Path(sys.modules[work.__module__].__file__ or "").resolve().parents[1] / "conf"
        OmegaConf.register_new_resolver("conf", lambda: str(conf), replace=True)  # for roots that use conf's own groups

        @functools.wraps(work)
        def job(options: DictConfig) -> None:
            if is_job_of_sweep():
                _set_up_logging()
                with recorded(Path(options.outputs) / options.run, _reason):
                    work(options)
                return
            with one_line_errors():  # before Hydra tells of them in its own way
                work(options)

        composed = hydra.main(version_base="1.3", config_path=str(conf / config), config_name="config")(job)

        @functools.wraps(work)
        def main() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print its errors itself, over several lines
            with one_line_errors():
                if place().world > 1 and {*MULTIRUN} & {*sys.argv[1:]}:
                    raise InputError("-m: a sweep is started by one process, without torchrun; its jobs start theirs")
                sys.argv[1:] = share_stages(sys.argv[1:]) if not config else sys.argv[1:]
                composed()

        return main

    return decorate


def run_script(
    options: DictConfig, work: Callable[[Run], object], *, next_command: str | None = None, shared: bool = False
) -> None:
    """Run `work`; end in a line with the next command.

    Args:
        options: as Hydra composed them.
        work: a function of `wsss.pipeline`.
        next_command: script that takes the run further; None after the last.
        shared: whether it is for all processes that `trainer.devices`, torchrun or srun provide, else for one.
    """
    config = OmegaConf.to_object(options)
    assert isinstance(config, Config)
    if config.reproduce is not None:
        raise InputError(f"reproduce={config.reproduce}: only run_pipeline.py repeats a run")
    check_options(config)
    number = wanted(config.trainer) if shared else 1
    if number > 1 and place().world == 1:
        Run(for_processes(config, number))  # what is wrong with options and data is told here, once
        status = start(number, _command())
        if status and is_job_of_sweep():
            raise InputError(f"its {number} processes ended with status {status}; what they said is above")
        if status:
            sys.exit(status)
        return
    join(config.trainer)
    config = for_processes(config, place().world if shared else 1)
    run = in_turn(lambda: Run(config))
    if shared:
        with ExitStack() as kept_out:
            on_first(lambda: kept_out.enter_context(sole_start(run.folder)))
            work_again_alone(work, run)
    else:
        on_first(lambda: work(run))
    _tell_end(run, next_command)
    leave()


def work_again_alone(work: Callable[[Run], object], run: Run) -> None:
    """Do the work; where a process that helped was killed, once more from there on without any."""
    try:
        work(run)
    except WorkerDiedError as error:
        if place().world > 1:  # the others are waiting for this one's part
            raise
        logging.getLogger(__name__).warning("%s. Once more without further processes", error)
        run.config.trainer.num_workers, run.config.masks.jobs = 0, 1
        work(run)


def _command() -> list[str]:
    """The script with the options of this job (of a sweep, perhaps)."""
    job = HydraConfig.get()
    conf = next(Path(source.path) for source in job.runtime.config_sources if source.provider == "main")
    return [sys.executable, str(conf.parent / "scripts" / f"{job.job.name}.py"), *job.overrides.task]


def _tell_end(run: Run, next_command: str | None) -> None:
    log = logging.getLogger(__name__)
    log.info("wrote %s", run.folder)
    for ids, where in ((run.left_out, ""), (run.unscored, " of the scores")):
        if ids:
            log.warning(
                "%d images left out%s (data.skip_bad=true): %s", len(ids), where, run.folder / "data_check.json"
            )
    if next_command is not None:
        log.info("next: python scripts/%s", " ".join([next_command, *_overrides()]))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Logging on; what a user can mend ends the script in one line, exit status 2."""
    _set_up_logging()
    end_on_signals()
    console = Console(stderr=True, highlight=False)
    try:
        with first_speaks():
            yield
    except KeyboardInterrupt:
        if not was_started_here():
            console.print("interrupted; the same command goes on from here")
        sys.exit(interrupted_status())
    except Exception as error:
        lines = told(error)
        if lines is None:
            raise
        _fail(console, *lines)


def _reason(error: Exception) -> str:
    """An error of a sweep's job in one line, after its traceback if it is none that users can mend."""
    lines = told(error)
    if lines is None:
        logging.getLogger(__name__).exception("the job has ended in an error of the program")
        lines = [f"{type(error).__name__}: {error}"]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return " ".join(lines[0].split()) + more


def _fail(console: Console, *messages: str) -> NoReturn:
    for message in messages:
        console.print("[red]error:[/red]", end=" ")
        console.print(" ".join(message.split()), soft_wrap=True, markup=False)
    sys.exit(2)


def print_results(run: Run) -> None:
    """Show the run's figures with their protocols."""
    results = run.write_results()
    protocols = json.loads((run.folder / "protocols.json").read_text())
    Console().print(results_table(results, protocols))


def _overrides() -> list[str]:
    """The options this run (of a sweep, perhaps) was started with, so that the next command can be pasted."""
    return [shlex.quote(option) for option in HydraConfig.get().overrides.task]


def _set_up_logging() -> None:
    # Plain lines: they stay whole when the output goes to a file.
    handler = logging.StreamHandler(sys.stdout)
    logging.basicConfig(
        level=logging.INFO if is_first() else logging.ERROR,  # one voice for all processes
        format="%(asctime)s  %(message)s",
        datefmt="%H:%M:%S",
        handlers=[handler],
        force=True,
    )
    for noisy in ("pytorch_lightning", "lightning.pytorch", "timm", "matplotlib", "PIL", "distributed"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.jit")
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")  # of convolutions
    # Of one class, and of names that browsers have the letters for; the page's plots are text.
    warnings.filterwarnings("ignore", message="No positive samples found in target|Glyph .* missing from")
