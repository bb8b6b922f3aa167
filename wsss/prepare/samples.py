"""Small data sets that are lists of images of a larger one."""

import logging
import shlex
from importlib import resources
from pathlib import Path

from wsss.data import describe
from wsss.prepare.disk import copy_file, disk_errors
from wsss.prepare.tables import check_files, log_end, write_labels, write_list

log = logging.getLogger(__name__)

SPLITS = ("train", "val")


@disk_errors()
def rebuild_sample(name: str, root: Path, out: Path) -> int:
    """Copy a sample's images and masks out of VOC; write its lists, and its labels from the masks.

    Args:
        name: one of `wsss.defaults.VOC_SAMPLES`.
        root: VOC 2012.
        out: folder of the sample; what is there is kept.

    Returns:
        Number of files written.

    Raises:
        InputError: if VOC lacks an image or mask, or `out` holds other lists.
    """
    lists = {split: packaged_list(f"{name}_{split}") for split in SPLITS}
    ids = sorted(lists["train"] + lists["val"])
    source = describe(root, labels="masks")
    for split in SPLITS:
        check_files(source, split, lists[split])
    for folder in (source.image_path(""), source.mask_path("")):
        (out / folder.parent.name).mkdir(parents=True, exist_ok=True)
    sample = describe(out, labels="masks")
    written = sum(write_list(sample, split, lists[split]) for split in SPLITS) + write_list(sample, "trainval", ids)
    for place, target in ((source.image_path, sample.image_path), (source.mask_path, sample.mask_path)):
        missing = [i for i in ids if not target(i).exists()]
        for image_id in missing:
            copy_file(place(image_id), target(image_id))
        written += len(missing)
    written += write_labels(sample, ids)
    log_end(out, lists, written)
    log.info("next: python scripts/run_pipeline.py experiment=voc_sample data.root=%s", shlex.quote(str(out)))
    return written


def packaged_list(name: str) -> list[str]:
    """Image ids of a list that comes with the package; none if there is no such list."""
    path = resources.files("wsss.prepare").joinpath("lists", f"{name}.txt")
    return path.read_text().split() if path.is_file() else []
