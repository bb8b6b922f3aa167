"""One start at a time works in a run's folder."""

import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from wsss.errors import InputError
from wsss.reading import read_json
from wsss.writing import remove_leftovers, write_json

log = logging.getLogger(__name__)

LOCK = ".lock"


@contextmanager
def sole_start(folder: Path) -> Iterator[None]:
    """Keep other starts out of a run's folder during a block.

    It is the system's lock of a file, so that it ends with the process that holds it, however that ends. Where the file
    system has no locks, nobody is kept out, and that is said.

    Raises:
        InputError: if another process works there: which, and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK), folder / f"{LOCK}.holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{folder}: {_told(holder)} is working there; wait for it, or choose another run=<name>"
        ) from None
    except NotImplementedError:
        log.warning("%s: no locks there; see to it that nothing else works in it", folder)
        yield
        return
    try:
        remove_leftovers(folder)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        write_json(holder, {"process": os.getpid(), "host": socket.gethostname(), "since": since, "command": command})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _told(holder: Path) -> str:
    try:
        known = read_json(holder)
        return "process {process} on {host}, since {since} ({command}),".format(**known)
    except (OSError, ValueError, LookupError):
        return "another process"
