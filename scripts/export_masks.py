"""Export a run's pseudo-masks or predictions for annotation tools, other trainers or the VOC server (docs/exports.md).

Examples:
    python scripts/export_masks.py outputs/demo --what masks --format coco --segmentation polygons --out exported
    python scripts/export_masks.py outputs/demo --what masks --format yolo png --out exported
    python scripts/export_masks.py outputs/voc_recam --what predictions --split test --format voc --out exported
"""

import argparse
from pathlib import Path

from wsss.defaults import COMPETITIONS, EXPORT_FORMATS, LABEL_MAPS, SEGMENTATIONS
from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """A folder for each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--what", choices=LABEL_MAPS, required=True, help="of the train images, or of a split's")
    parser.add_argument("--split", help="predictions: whose images; labels and masks are not needed (default: val)")
    parser.add_argument("--format", nargs="+", choices=EXPORT_FORMATS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="each format gets a folder in this one")
    parser.add_argument("--segmentation", choices=SEGMENTATIONS, default="rle", help="coco: run lengths or polygons")
    parser.add_argument("--void", action="store_true", help="coco: keep void pixels, as crowds of category void")
    parser.add_argument("--competition", choices=COMPETITIONS, default="comp6", help="voc: which the archive enters")
    options = parser.parse_args()
    from wsss.pipeline.export_masks import export_masks
    from wsss.pipeline.run import open_run

    export_masks(
        open_run(options.run),
        options.out,
        what=options.what,
        split=options.split,
        formats=options.format,
        segmentation=options.segmentation,
        void=options.void,
        competition=options.competition,
    )


if __name__ == "__main__":
    main()
