"""Measure the tables of docs/results.md and write the page; what has finished before is kept.

    python benchmarks/results.py --data voc=<folder> tiles=<folder>    # all, cheap ones first: a day of one core
    python benchmarks/results.py lambda chain --outputs /data/outputs
    python benchmarks/results.py --render                 # the page anew from docs/results/*.json, nothing is measured
    python benchmarks/results.py --tables mine --page mine.md    # tables of your own

benchmarks/results/<table>.yaml describes a table (`TableSpec` in wsss/pipeline/result_specs.py), and page.md.j2 beside
them is the page. A table whose data is not given keeps its numbers. The exit status is 1 where something failed.
"""

import argparse
import logging
import sys
from pathlib import Path

from wsss.errors import InputError
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.result_page import write_page
from wsss.pipeline.result_specs import read_specs
from wsss.pipeline.result_tables import make_tables

ROOT = Path(__file__).resolve().parents[1]
log = logging.getLogger(__name__)


def main() -> None:
    """Measure, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="table", help="default: all")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs", help="folder of the runs")
    parser.add_argument("--data", nargs="+", default=[], metavar="NAME=FOLDER", help="data that commands ask for")
    parser.add_argument("--tables", type=Path, default=ROOT / "benchmarks" / "results", help="folder of descriptions")
    parser.add_argument(
        "--page", type=Path, default=ROOT / "docs" / "results.md", help="numbers go into its name's folder"
    )
    parser.add_argument("--note", default="", help="sentence kept beside the figures: what their time does not say")
    options = parser.parse_args()
    with one_line_errors():
        specs = read_specs(options.tables)
        if unknown := [name for name in options.names if name not in specs]:
            raise InputError(f"{unknown[0]}: no such table; there are {', '.join(specs)}")
        ill = []
        if not options.render:
            folders = {"outputs": options.outputs.resolve()} | dict(map(_folder, options.data))
            chosen = {name: spec for name, spec in specs.items() if name in (options.names or specs)}
            ill = make_tables(chosen, folders, options.page.with_suffix(""), ROOT, options.note)
        write_page(options.page, options.tables / "page.md.j2", specs)
        for line in ill:
            log.error("%s", line)
    sys.exit(1 if ill else 0)


def _folder(option: str) -> tuple[str, Path]:
    """Name and folder of a `name=folder`."""
    name, _, folder = option.partition("=")
    if not Path(folder).is_dir():
        raise InputError(f"--data {option}: expected <name>=<folder>, and the folder to be there")
    return name, Path(folder).resolve()


if __name__ == "__main__":
    main()
