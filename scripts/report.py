"""Write report/index.html from whatever the run's folder holds (docs/report.md).

Examples:
    python scripts/report.py outputs/mine                            # with the options that the run keeps
    python scripts/report.py outputs/mine report.num_images=1500
    python scripts/report.py run=mine experiment=demo
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss.pipeline.cli import one_line_errors, run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """One page, of the run that options name."""
    from wsss.pipeline.report import make_report

    run_script(options, make_report)


@one_line_errors()
def of_folders(folders: Sequence[str], options: Sequence[str]) -> None:
    """A page each, of the runs in folders."""
    from wsss.pipeline.report import report_of

    for folder in folders:
        report_of(Path(folder), options)


def is_folder(argument: str) -> bool:
    """Whether an argument is no option; folders of sweeps have `=` in their names."""
    return Path(argument).is_dir() or not ("=" in argument or argument.startswith("-"))


if __name__ == "__main__":
    folders = [argument for argument in sys.argv[1:] if is_folder(argument)]
    if folders:
        of_folders(folders, [argument for argument in sys.argv[1:] if argument not in folders])
    else:
        main()
