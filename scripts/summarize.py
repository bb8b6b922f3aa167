"""Put the figures of several runs side by side: means over random seeds, tests against a control, pictures, a page.

Examples:
    python scripts/summarize.py outputs/lambda                                 # writes outputs/lambda/index.html
    python scripts/summarize.py outputs/lambda --control recam.sce_weight=0.1 --figures seeds/miou masks/miou
    python scripts/summarize.py outputs/demo outputs/demo_control --markdown   # any runs; writes nothing
    python scripts/summarize.py outputs/crf_* --out outputs/crf_seeds
"""

import argparse
from pathlib import Path

from wsss.errors import InputError
from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """A table, and what a sweep ends in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, help="folder of a sweep, or folders of runs")
    parser.add_argument("--figures", nargs="+", metavar="KEY", help="keys of results.json")
    parser.add_argument(
        "--control", nargs="+", default=(), metavar="OPTION=VALUE", help="what the others are compared with"
    )
    parser.add_argument("--out", type=Path, help="folder for the page and the tables; default: a sweep's own")
    parser.add_argument("--csv", type=Path, help="also write all runs there")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    options = parser.parse_args()
    from wsss.pipeline.sweep_summary import FIGURES, check_figures, is_recorded, print_sweep, read_sweep, write_sweep
    from wsss.report.sweep_tables import runs_csv
    from wsss.writing import write_csv

    summary = read_sweep(options.runs, control=options.control)
    if options.figures is not None:
        check_figures(summary, options.figures)
    figures = options.figures or FIGURES
    out = options.out or (options.runs[0] if len(options.runs) == 1 and is_recorded(options.runs[0]) else None)
    try:
        if out is not None:
            write_sweep(out, summary, figures=figures)
        if options.csv is not None:
            write_csv(options.csv, *runs_csv(summary.comparison))
    except (OSError, ValueError) as error:  # ValueError: of a path without a name
        raise InputError(f"the tables cannot be written ({error}); name another --out or --csv") from None
    print_sweep(summary, figures=figures, markdown=options.markdown)


if __name__ == "__main__":
    main()
