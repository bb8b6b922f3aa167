"""Bring MS COCO 2014 into the layout the other scripts read: classes, labels, lists of images and masks.

Examples:
    python scripts/prepare_coco.py --root data/COCO2014
    python scripts/prepare_coco.py --root data/COCO2014 --crowd void --jobs 8
    python scripts/prepare_coco.py --root data/COCO2014 --masks downloads/coco_masks
"""

import argparse
import logging
import shlex
from pathlib import Path

from wsss.defaults import COCO_CROWDS, COCO_VALUES
from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """Tables, lists and masks, and the next command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/COCO2014"), help="folder COCO was unpacked in")
    masks = parser.add_mutually_exclusive_group()
    masks.add_argument("--masks", type=Path, metavar="FOLDER", help="take these masks instead of drawing them")
    masks.add_argument("--no-masks", action="store_true", help="only classes, labels and lists")
    parser.add_argument(
        "--values", choices=COCO_VALUES, help="what the values of --masks are (default: as the files tell)"
    )
    parser.add_argument("--crowd", choices=COCO_CROWDS, default=COCO_CROWDS[0], help="what crowd regions are drawn as")
    parser.add_argument("--jobs", type=int, default=-1, help="worker processes; -1: one a core")
    options = parser.parse_args()
    from wsss.prepare.coco import prepare_coco

    prepare_coco(
        options.root,
        masks=not options.no_masks,
        given=options.masks,
        values=options.values,
        crowd=options.crowd,
        jobs=options.jobs,
    )
    root = shlex.quote(f"data.root={options.root}")
    logging.getLogger(__name__).info("next: python scripts/run_pipeline.py data=coco %s", root)


if __name__ == "__main__":
    main()
