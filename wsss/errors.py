"""The exceptions users are meant to see: lines that name the file or value and the remedy."""

import errno
import os
import re
from collections.abc import Sequence

# What a file system says that users can mend -> how.
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or choose outputs=<folder elsewhere>"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "allow it, or choose outputs=<another folder>"),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG), "choose another outputs=<folder> or run=<name>"
    ),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE), "put it back and run again, or choose outputs=<another folder>"),
    errno.EIO: "look at the disk",
}
LONGEST = 1500  # letters of a message
# What moves a terminal's cursor or changes its colours, and halves of letters, which no file takes.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class InputError(ValueError):
    """Something in the user's files or options is wrong; scripts print it as one line, without a traceback.

    What messages quote of files may hold anything, so they are made printable, see `plain`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class WorkerDiedError(InputError):
    """A process that helped was killed from outside; without helpers the work may go on."""


class FaultyDataError(InputError):
    """A data set has faults; scripts print a line for each.

    Args:
        messages: one for each.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        self.messages = [plain(message) for message in messages]
        ValueError.__init__(self, "\n".join(self.messages))


def disk_fault(error: OSError) -> str | None:
    """What users are told of a full, read-only or vanished place; None of any other error."""
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{os.strerror(error.errno or 0)}; {remedy}. What is finished is kept"


def plain(text: str) -> str:
    """A text as one printable line: ends of lines become spaces, other control characters escapes; cut if endless."""
    line = _UNPRINTABLE.sub(lambda found: " " if found[0] in "\n\r\t" else ascii(found[0])[1:-1], text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def is_plain(name: str) -> bool:
    """Whether a name can stand in a message, a list or a path: no control characters, no halves of letters."""
    return _UNPRINTABLE.search(name) is None


def is_called(error: BaseException, name: str) -> bool:
    """Whether an error is of a class of this name, whose library has perhaps not been loaded."""
    return any(kind.__name__ == name for kind in type(error).__mro__)


def without_remedy(error: Exception) -> str:
    """What is wrong, for a message with a remedy of its own: ours end in one, after a semicolon."""
    return str(error).rpartition("; ")[0] or str(error)


def first_line(error: Exception) -> str:
    """What an error says, short enough to be quoted within one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
