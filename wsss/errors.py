"""The exceptions users are meant to see: lines that name the file or value and the remedy."""

import errno
import os
from collections.abc import Sequence

# What a file system says that users can mend -> how.
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or choose outputs=<folder elsewhere>"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "allow it, or choose outputs=<another folder>"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), "choose outputs=<another folder>"),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE), "it was there before; put it back, or run again"),
    errno.EIO: "look at the disk",
}


class InputError(ValueError):
    """Something in the user's files or options is wrong; scripts print it as one line, without a traceback."""


class WorkerDiedError(InputError):
    """A process that helped was killed from outside; without helpers the work may go on."""


class FaultyDataError(InputError):
    """A data set has faults; scripts print a line for each.

    Args:
        messages: one for each.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = list(messages)


def disk_fault(error: OSError) -> str | None:
    """What users are told of a full, read-only or vanished place; None of any other error."""
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{os.strerror(error.errno or 0)}; {remedy}. What is finished is kept"
