"""Turn corrected masks into label maps that a segmenter can be trained on (docs/exports.md).

Examples:
    python scripts/import_masks.py corrected.json --run outputs/demo --out corrected --complete
    python scripts/import_masks.py folder_of_pngs --run outputs/demo --out corrected --complete
    python scripts/import_masks.py corrected.json --run outputs/demo --out only_the_corrected
"""

import argparse
from pathlib import Path

from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """A folder of palette PNGs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a file of COCO instances, or a folder with <id>.png")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run they were exported from")
    parser.add_argument("--out", type=Path, required=True, help="new folder of the masks")
    parser.add_argument("--complete", action="store_true", help="add the run's own masks of the other train images")
    options = parser.parse_args()
    from wsss.pipeline.import_masks import import_masks
    from wsss.pipeline.run import open_run

    import_masks(open_run(options.run), options.source, options.out, complete=options.complete)


if __name__ == "__main__":
    main()
