"""Bring photographs of surface defects into the layout that experiment=defects reads: magnetic tiles, or DAGM 2007.

Examples:
    python scripts/prepare_defects.py --dataset magnetic_tile --source downloads/Magnetic-tile-defect-datasets.
    python scripts/prepare_defects.py --dataset magnetic_tile --source … --out data/tiles_1 --full --seed 1
    python scripts/prepare_defects.py --dataset dagm --source downloads/DAGM2007
    python scripts/prepare_defects.py --dataset merged --source data/magnetic_tile     # defect against none
"""

import argparse
from pathlib import Path

from wsss.errors import InputError
from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """One data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset",
        required=True,
        choices=("magnetic_tile", "dagm", "merged"),
        help="merged: another prepared folder, all kinds of defect as one class",
    )
    parser.add_argument("--source", required=True, type=Path, help="folder of MT_Blowhole …, of Class1 …, or prepared")
    parser.add_argument("--out", type=Path, help="folder to write (default: data/<dataset>)")
    parser.add_argument("--full", action="store_true", help="magnetic_tile: all photographs, not the sample of 208")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the split of --full")
    options = parser.parse_args()
    if options.dataset != "magnetic_tile" and (options.full or options.seed):
        raise InputError(f"--dataset {options.dataset}: --full and --seed are magnetic_tile's; leave them out")
    from wsss.prepare.defects import merge_kinds, prepare_dagm, prepare_magnetic_tile

    out = options.out or Path("data") / options.dataset
    if options.dataset == "magnetic_tile":
        prepare_magnetic_tile(options.source, out, full=options.full, seed=options.seed)
    elif options.dataset == "dagm":
        prepare_dagm(options.source, out)
    else:
        merge_kinds(options.source, out)


if __name__ == "__main__":
    main()
