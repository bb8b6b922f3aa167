"""Build data/mini_voc anew: a small synthetic data set in PASCAL VOC layout, made of the Tux Paint stamps.

Examples:
    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default_*.deb stamps
    python scripts/build_mini_voc.py --stamps stamps/usr/share/tuxpaint/stamps
    python scripts/build_mini_voc.py --stamps stamps/usr/share/tuxpaint/stamps --out data/other --seed 1
    python scripts/build_mini_voc.py --stamps ~/stamps --out /tmp/mini_voc

The same seed gives the same pixels under the same numpy and Pillow. The stamps are under GPL-2, and so is every picture
made here (see data/mini_voc/LICENSE).
"""

import argparse
from pathlib import Path

from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """The whole data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True, metavar="DIR", help="folder of the Tux Paint stamps")
    parser.add_argument("--out", type=Path, default=Path("data/mini_voc"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    from wsss.prepare.mini_voc import build_mini_voc

    build_mini_voc(options.stamps, options.out, seed=options.seed)


if __name__ == "__main__":
    main()
