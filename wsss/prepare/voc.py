"""PASCAL VOC 2012 and its additions from SBD, as published, to the folder that everyone uses.

root/JPEGImages  SegmentationClass  SegmentationClassAug  Annotations  ImageSets/Segmentation  labels.csv
"""

import logging
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wsss.data import VOC_CLASSES, DataDescription, describe, read_split
from wsss.prepare.archives import unpack
from wsss.prepare.disk import disk_errors
from wsss.prepare.download import Archive, fetch
from wsss.prepare.tables import LISTS, check_count, check_files, log_end, write_labels
from wsss.prepare.trainaug import FOLDER, merge_trainaug

log = logging.getLogger(__name__)

# Addresses and checksums as torchvision states them.
TRAINVAL = Archive(
    "VOCtrainval_11-May-2012.tar",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "6cd6e144f989b92b3379bac3b3de84fd",
)
SBD = Archive(
    "benchmark.tgz",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
)
TEST = "VOC2012test.tar"  # given out behind a login: taken where it lies, never downloaded
CONVERTED_SBD = f"{FOLDER}.zip"
COUNTS = {"train": 1464, "val": 1449, "trainaug": 10582, "test": 1456}

# The folders of VOC's archives that segmentation needs.
NEEDED = re.compile(rf"(?:.*/)?VOC2012/((?:JPEGImages|SegmentationClass|Annotations|{LISTS})/[^/.][^/]*)")


@disk_errors()
def prepare_voc(
    root: Path,
    *,
    archives: Path,
    sbd: bool = False,
    labels: str = "xml",
    counts: Mapping[str, int] = COUNTS,
    trainval: Archive = TRAINVAL,
    sbd_archive: Archive = SBD,
) -> int:
    """Bring VOC 2012 to `root`: from archives, downloaded where they are missing; what is there is kept.

    Args:
        root: folder to hold JPEGImages and the others.
        archives: folder of archives, and of downloads.
        sbd: also make trainaug, from `sbd_archive`, or from SegmentationClassAug.zip if only that is there.
        labels: source of labels.csv, `xml` or `masks`.
        counts: published sizes of the splits; one that is not named may have any.
        trainval: VOC's archive.
        sbd_archive: SBD's archive.

    Returns:
        Number of files written.

    Raises:
        InputError: for an archive, a count, or a file that is not as published.
    """
    written = _unpack_voc(root, archives, trainval)
    data = describe(root, classes=VOC_CLASSES, labels=labels)
    splits = _check_splits(data, counts)
    if sbd and "trainaug" not in splits:
        written += merge_trainaug(data, _find_sbd(archives, sbd_archive), counts)
        splits = _check_splits(data, counts)
    labelled = {image_id for split, ids in splits.items() if split != "test" for image_id in ids}
    written += write_labels(_augmented(data) if "trainaug" in splits else data, sorted(labelled))
    log_end(root, splits, written)
    log.info("next: python scripts/run_pipeline.py %s", _next_options(root, "trainaug" in splits))
    return written


def _unpack_voc(root: Path, archives: Path, trainval: Archive) -> int:
    written = 0
    if not all(_has_list(root, split) for split in ("train", "val")):
        written += unpack(fetch(trainval, archives), root, _place, last=LISTS)
    if (archives / TEST).exists() and not _has_list(root, "test"):
        written += unpack(archives / TEST, root, _place, last=LISTS)
    return written


def _place(name: str) -> str | None:
    match = NEEDED.fullmatch(name)
    return match and match[1]


def _has_list(root: Path, split: str) -> bool:
    """Whether a split is all there: its list is written last."""
    return (root / LISTS / f"{split}.txt").exists()


def _find_sbd(archives: Path, sbd: Archive) -> Path:
    converted = archives / CONVERTED_SBD
    return converted if converted.exists() and not (archives / sbd.name).exists() else fetch(sbd, archives)


def _check_splits(data: DataDescription, counts: Mapping[str, int]) -> dict[str, list[str]]:
    """All splits that are there, complete and of their published sizes."""
    splits = {split: read_split(data, split) for split in COUNTS if _has_list(data.root, split)}
    for split, ids in splits.items():
        check_count(split, ids, counts, origin=f"{LISTS}/{split}.txt")
        check_files(_augmented(data) if split == "trainaug" else data, split, ids, truth=split != "test")
    return splits


def _augmented(data: DataDescription) -> DataDescription:
    return replace(data, mask_folder=FOLDER)


def _next_options(root: Path, has_trainaug: bool) -> str:
    options = f"experiment=voc_recam data.root={shlex.quote(str(root))}"
    return options if has_trainaug else f"{options} data.train=train"
