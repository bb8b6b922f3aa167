"""What every script does around its one function: options in, log and one-line errors out.

Nothing that takes long to load is imported before `one_line_errors` stands around it: a script answers, and can be
interrupted, at once. Scripts import their own work within `main` for the same reason.
"""

import functools
import json
import logging
import os
import select
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from wsss.errors import InputError, WorkerDiedError
from wsss.pipeline.processes import (
    end_on_signals,
    first_speaks,
    in_turn,
    interrupted_status,
    is_first,
    on_first,
    place,
    was_started_here,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from wsss.pipeline.run import Run


log = logging.getLogger(__name__)

NOISY = ("torch", "pytorch_lightning", "lightning", "timm", "matplotlib", "PIL", "distributed")  # loggers of libraries
OUTPUT = "standard output"
CLOSED_PIPE = 141  # exit status, as of a process that SIGPIPE has ended


def script(config: str = "") -> Callable[[Callable[["DictConfig"], None]], Callable[[], None]]:
    """Make a function of the options a script's `main`: Hydra composes them, and its errors are one line like ours.

    Args:
        config: folder under conf/ that holds the root `config.yaml`; default: conf itself.
    """

    def decorate(work: Callable[["DictConfig"], None]) -> Callable[[], None]:
        conf = Path(sys.modules[work.__module__].__file__ or "").resolve().parents[1] / "conf"

        @functools.wraps(work)
        def job(options: "DictConfig") -> None:
            from wsss.pipeline.sweep import is_job_of_sweep
            from wsss.pipeline.sweep_record import recorded

            if is_job_of_sweep():
                _set_up_logging()
                with recorded(Path(options.outputs) / options.run, _reason):
                    _tell_start(options)
                    work(options)
                return
            with one_line_errors():  # before Hydra tells of them in its own way
                _tell_start(options)
                work(options)

        @functools.wraps(work)
        def main() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print its errors itself, over several lines
            with one_line_errors():
                import hydra
                from omegaconf import OmegaConf

                from wsss.pipeline import schema  # noqa: F401 - makes the option classes known
                from wsss.pipeline.sweep_stages import MULTIRUN, share_stages

                OmegaConf.register_new_resolver("conf", lambda: str(conf), replace=True)  # for roots with conf's groups
                if place().world > 1 and {*MULTIRUN} & {*sys.argv[1:]}:
                    raise InputError("-m: a sweep is started by one process, without torchrun; its jobs start theirs")
                sys.argv[1:] = share_stages(sys.argv[1:]) if not config else sys.argv[1:]
                hydra.main(version_base="1.3", config_path=str(conf / config), config_name="config")(job)()

        return main

    return decorate


def run_script(
    options: "DictConfig", work: Callable[["Run"], object], *, next_command: str | None = None, shared: bool = False
) -> None:
    """Run `work`; end in a line with the next command.

    Args:
        options: as Hydra composed them.
        work: a function of `wsss.pipeline`.
        next_command: script that takes the run further; None after the last.
        shared: whether it is for all processes that `trainer.devices`, torchrun or srun provide, else for one.
    """
    from omegaconf import OmegaConf

    from wsss.pipeline.config import Config
    from wsss.pipeline.options import check_options, for_processes
    from wsss.pipeline.process_group import join, leave, start, wanted
    from wsss.pipeline.run import Run
    from wsss.pipeline.run_lock import sole_start
    from wsss.pipeline.sweep import is_job_of_sweep

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
    _tell_end(run)
    model = run.folder / "segmenter" / "model.pt"
    if next_command is not None:
        tell_next(next_command)
    elif model.exists() and not is_job_of_sweep():
        checkpoint = shlex.quote(f"checkpoint={model}")
        log.info("next: python scripts/predict.py images=<photographs> %s out=labelled", checkpoint)
    leave()


def work_again_alone(work: Callable[["Run"], object], run: "Run") -> None:
    """Do the work; where a process that helped was killed, once more from there on without any."""
    try:
        work(run)
    except WorkerDiedError as error:
        if place().world > 1:  # the others are waiting for this one's part
            raise
        log.warning("%s. Once more without further processes", error)
        run.config.trainer.num_workers, run.config.masks.jobs = 0, 1
        work(run)


def _command() -> list[str]:
    """The script with the options of this job (of a sweep, perhaps)."""
    from hydra.core.hydra_config import HydraConfig

    job = HydraConfig.get()
    conf = next(Path(source.path) for source in job.runtime.config_sources if source.provider == "main")
    return [sys.executable, str(conf.parent / "scripts" / f"{job.job.name}.py"), *job.overrides.task]


def _tell_start(options: "DictConfig") -> None:
    """Say what begins, while its libraries are still to be loaded."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from wsss.pipeline.options_tree import options_tree

    started = HydraConfig.get()
    has_run = "run" in options
    log.info("%s: %s", started.job.name, Path(options.outputs) / options.run if has_run else options.out)
    console = Console()
    if has_run and console.is_terminal and options.trainer.progress and is_first():
        console.print(options_tree(options, started.overrides.task))


def tell_next(name: str) -> None:
    """Say the command that goes on from here, with the options of this one."""
    log.info("next: python scripts/%s", " ".join([name, *_overrides()]))


def _tell_end(run: "Run") -> None:
    log.info("wrote %s", run.folder)
    for ids, where in ((run.left_out, ""), (run.unscored, " of the scores")):
        if ids:
            log.warning(
                "%d images left out%s (data.skip_bad=true): %s", len(ids), where, run.folder / "data_check.json"
            )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Logging on; what a user can mend ends the script in one line, exit status 2."""
    if sys.stdout is None:  # closed by who started it
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process lives
    _set_up_logging()
    end_on_signals()
    try:
        try:
            with first_speaks():
                yield
        finally:
            with _named_output():
                sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        _speak_no_more()
        sys.exit(CLOSED_PIPE)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich has met it, and made a status of its own of it
            sys.exit(CLOSED_PIPE)
        raise
    except KeyboardInterrupt:
        if not was_started_here():
            with suppress(OSError):  # the terminal is gone
                sys.stderr.write("interrupted; the same command goes on from here\n")
        sys.exit(interrupted_status())
    except Exception as error:
        if isinstance(error, OSError) and error.filename == OUTPUT:
            _speak_no_more()
        from rich.console import Console

        from wsss.pipeline.refusals import told

        lines = told(error)
        if lines is None:
            raise
        _fail(Console(stderr=True, highlight=False), *lines)


@contextmanager
def _named_output() -> Iterator[None]:
    """Say of a failing write what it was to."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        error.filename = OUTPUT
        raise


def _speak_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed


def _nobody_reads() -> bool:
    """Whether what this process writes its lines to, `| head` perhaps, has ended."""
    watch = select.poll()
    watch.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(0))


class _Lines(logging.StreamHandler[TextIO]):
    """Writes plain lines, which stay whole where the output goes to a file."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        # Here, as libraries set the levels of their own loggers when they are loaded.
        self.addFilter(lambda record: record.levelno >= logging.WARNING or not record.name.startswith(NOISY))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """A closed pipe and a full disk are for `one_line_errors`."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)
            return
        with _named_output():
            raise


def _reason(error: Exception) -> str:
    """An error of a sweep's job in one line, after its traceback if it is none that users can mend."""
    from wsss.pipeline.refusals import told

    lines = told(error)
    if lines is None:
        log.exception("the job has ended in an error of the program")
        lines = [f"{type(error).__name__}: {error}"]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return " ".join(lines[0].split()) + more


def _fail(console: "Console", *messages: str) -> NoReturn:
    for message in messages:
        console.print("[red]error:[/red]", end=" ")
        console.print(" ".join(message.split()), soft_wrap=True, markup=False)
    sys.exit(2)


def print_results(run: "Run") -> None:
    """Show the run's figures with their protocols."""
    from rich.console import Console

    from wsss.report import results_table

    results = run.write_results()
    protocols = json.loads((run.folder / "protocols.json").read_text())
    Console().print(results_table(results, protocols))


def _overrides() -> list[str]:
    """The options this run (of a sweep, perhaps) was started with, so that the next command can be pasted."""
    from hydra.core.hydra_config import HydraConfig

    return [shlex.quote(option) for option in HydraConfig.get().overrides.task]


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO if is_first() else logging.ERROR,  # one voice for all processes
        format="%(asctime)s  %(message)s",
        datefmt="%H:%M:%S",
        handlers=[_Lines()],
        force=True,
    )
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.jit")
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")  # of convolutions
    # Of one class, and of names that browsers have the letters for; the page's plots are text.
    warnings.filterwarnings("ignore", message="No positive samples found in target|Glyph .* missing from")
