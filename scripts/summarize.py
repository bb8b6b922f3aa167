"""Put the figures of several runs side by side, with the options in which they differ.

Examples:
    python scripts/summarize.py outputs/sweep/*
    python scripts/summarize.py outputs/sweep/* --figures seeds/oracle_miou masks/miou --csv sweep.csv
    python scripts/summarize.py outputs/demo outputs/demo_control --markdown
"""

import argparse
from pathlib import Path

from rich.console import Console

from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.summary import FIGURES, summarize, summary_markdown, summary_table, write_summary


def main() -> None:
    """A table, and a file of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs")
    parser.add_argument("--figures", nargs="+", default=FIGURES, metavar="KEY", help="keys of results.json")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args()
    with one_line_errors():
        rows = summarize(options.runs, options.figures)
        if options.csv is not None:
            write_summary(options.csv, rows)
        Console().print(summary_markdown(rows) if options.markdown else summary_table(rows), soft_wrap=options.markdown)


if __name__ == "__main__":
    main()
