"""What every script does around its one function: options in, log and one-line errors out."""

import json
import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from rich.console import Console

from wsss.errors import InputError
from wsss.pipeline.config import Config
from wsss.pipeline.explain import ExplainConfig
from wsss.pipeline.run import Run
from wsss.report import results_table

OmegaConf.register_new_resolver("script_doc", lambda: sys.modules["__main__"].__doc__ or "", replace=True)  # for --help
# The types conf/config.yaml and conf/explain.yaml are checked against.
ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(name="explain_schema", node=ExplainConfig)


def run_script(options: DictConfig, work: Callable[[Run], object], *, next_command: str | None = None) -> None:
    """Run `work`; end in a line with the next command, or in one line that says what is wrong (exit status 2).

    Args:
        options: as Hydra composed them.
        work: a function of `wsss.pipeline`.
        next_command: script that takes the run further; None after the last.
    """
    with one_line_errors():
        config = OmegaConf.to_object(options)
        assert isinstance(config, Config)
        run = Run(config)
        work(run)
    log = logging.getLogger(__name__)
    log.info("wrote %s", run.folder)
    if next_command is not None:
        log.info("next: python scripts/%s", " ".join([next_command, *_overrides()]))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Logging on; what a user can mend ends the script in one line, exit status 2."""
    _set_up_logging()
    console = Console(stderr=True, highlight=False)
    try:
        yield
    except MissingMandatoryValue as error:
        _fail(console, f"{error.full_key} has no value; pass {error.full_key}=<value>")
    except (InputError, MisconfigurationException, OmegaConfBaseException) as error:
        _fail(console, str(error))
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
        sys.exit(130)


def _fail(console: Console, message: str) -> NoReturn:
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
        level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S", handlers=[handler], force=True
    )
    for noisy in ("pytorch_lightning", "lightning.pytorch", "timm", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.jit")
