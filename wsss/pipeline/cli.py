"""What every script does around its one function: options in, log and one-line errors out."""

import logging
import sys
from collections.abc import Callable

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.logging import RichHandler

from wsss.errors import InputError
from wsss.pipeline.config import Config
from wsss.pipeline.run import Run
from wsss.report import results_table

ConfigStore.instance().store(name="schema", node=Config)  # the types conf/config.yaml is checked against


def run_script(options: DictConfig, work: Callable[[Run], object], *, next_command: str | None = None) -> None:
    """Run `work`; end in a line with the next command, or in one line that says what is wrong (exit status 2).

    Args:
        options: as Hydra composed them.
        work: a function of `wsss.pipeline`.
        next_command: script that takes the run further; None after the last.
    """
    _set_up_logging()
    console = Console(stderr=True, highlight=False)
    try:
        config = OmegaConf.to_object(options)
        assert isinstance(config, Config)
        run = Run(config)
        work(run)
    except (InputError, OmegaConfBaseException) as error:
        console.print(f"[red]error:[/red] {' '.join(str(error).split())}", soft_wrap=True, markup=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
        sys.exit(130)
    log = logging.getLogger(__name__)
    log.info("wrote %s", run.folder)
    if next_command is not None:
        log.info("next: python scripts/%s", " ".join([next_command, *_overrides()]))


def print_results(run: Run) -> None:
    """Show the run's figures with their protocols."""
    import json

    results = run.write_results()
    protocols = json.loads((run.folder / "protocols.json").read_text())
    Console().print(results_table(results, protocols))


def _overrides() -> list[str]:
    """The command line's own options, so that the next command can be pasted."""
    return [f"'{o}'" if any(c in o for c in "[]{}$*, ") else o for o in sys.argv[1:] if not o.startswith("-")]


def _set_up_logging() -> None:
    handler = RichHandler(console=Console(), show_path=False, show_level=False, log_time_format="%H:%M:%S")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    for noisy in ("pytorch_lightning", "lightning.pytorch", "timm", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
