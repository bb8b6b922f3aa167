"""Public data sets: downloaded, unpacked, checked and brought into the layout that `wsss.data` reads."""

from wsss.prepare.archives import Entry, open_archive, unpack
from wsss.prepare.disk import check_space, disk_errors
from wsss.prepare.download import Archive, fetch

__all__ = [
    "Archive",
    "Entry",
    "check_space",
    "disk_errors",
    "fetch",
    "open_archive",
    "unpack",
]
