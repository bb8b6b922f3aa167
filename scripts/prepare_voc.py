"""Bring PASCAL VOC 2012 into the layout that the experiments read, with its labels as a table.

Examples:
    python scripts/prepare_voc.py --root data/VOC2012 --sbd
    python scripts/prepare_voc.py --root data/VOC2012 --sbd --archives ~/downloads
    python scripts/prepare_voc.py --root data/VOC2012 --list voc300 --out data/voc300

Archives that are not in the folder of --archives are downloaded to it (VOC 2.0 GB, SBD 1.4 GB). An interrupted command
goes on where it stopped.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from wsss.defaults import VOC_SAMPLES
from wsss.pipeline.cli import one_line_errors


@one_line_errors()
def main() -> None:
    """VOC 2012, and a sample of it if one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/VOC2012"), help="folder of VOC 2012")
    parser.add_argument(
        "--archives", type=Path, help="folder of archives and downloads (default: archives beside root)"
    )
    parser.add_argument("--sbd", action="store_true", help="make trainaug with SBD's masks")
    parser.add_argument("--labels", choices=("xml", "masks"), default="xml", help="source of labels.csv")
    parser.add_argument("--list", choices=VOC_SAMPLES, help="also rebuild this sample")
    parser.add_argument("--out", type=Path, help="folder of the sample (default: its name, beside root)")
    parser.add_argument("--any-count", action="store_true", help="accept splits of other than the published sizes")
    parser.add_argument("--voc-url", metavar="URL", help="a mirror of VOC's archive")
    parser.add_argument("--sbd-url", metavar="URL", help="a mirror of SBD's archive")
    options = parser.parse_args()
    from wsss.prepare import COUNTS, SBD, TRAINVAL, prepare_voc, rebuild_sample

    prepare_voc(
        options.root,
        archives=options.archives or options.root.parent / "archives",
        sbd=options.sbd,
        labels=options.labels,
        counts={} if options.any_count else COUNTS,
        trainval=replace(TRAINVAL, url=options.voc_url or TRAINVAL.url),
        sbd_archive=replace(SBD, url=options.sbd_url or SBD.url),
    )
    if options.list:
        rebuild_sample(options.list, options.root, options.out or options.root.parent / options.list)


if __name__ == "__main__":
    main()
