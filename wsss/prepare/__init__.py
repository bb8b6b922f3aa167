"""Public data sets: downloaded, unpacked, checked and brought into the layout that `wsss.data` reads."""

from wsss.prepare.archives import Entry, open_archive, unpack
from wsss.prepare.disk import check_space, disk_errors
from wsss.prepare.download import Archive, fetch
from wsss.prepare.samples import packaged_list, rebuild_sample
from wsss.prepare.tables import write_labels, write_list
from wsss.prepare.trainaug import merge_trainaug
from wsss.prepare.voc import COUNTS, SBD, TRAINVAL, prepare_voc

__all__ = [
    "COUNTS",
    "SBD",
    "TRAINVAL",
    "Archive",
    "Entry",
    "check_space",
    "disk_errors",
    "fetch",
    "merge_trainaug",
    "open_archive",
    "packaged_list",
    "prepare_voc",
    "rebuild_sample",
    "unpack",
    "write_labels",
    "write_list",
]
