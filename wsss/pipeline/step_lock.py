"""One lock for each content of a step: of several jobs that want it, one makes it and the others wait and take it."""

import logging
from pathlib import Path

from filelock import FileLock, Timeout

from wsss.errors import InputError
from wsss.writing import write_text

log = logging.getLogger(__name__)

POLL_S = 0.2


class StepLock:
    """The right to make a step; it is the system's lock of a file, so that it dies with the process that holds it.

    Args:
        outputs: folder of all runs; the locks lie in its `.locks`.
        step: name of the step.
        fingerprint: of its options and of the steps it builds on.
    """

    def __init__(self, outputs: Path, step: str, fingerprint: str) -> None:
        self._step = step
        path = outputs / ".locks" / f"{step}-{fingerprint}"
        self._holder = path.with_name(f"{path.name}.holder")
        # One for the whole process, so that a start that failed there does not make the next one wait for ever.
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), thread_local=False, is_singleton=True)

    def acquire(self, run: Path) -> None:
        """Wait until no other process makes the step, and say once who does.

        Args:
            run: folder of the run that wants it.

        Raises:
            InputError: if the folder cannot hold locks.
        """
        try:
            self._holder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                log.info("%s: waiting for %s, which is making it", self._step, self._told())
                self._lock.acquire(poll_interval=POLL_S)
            write_text(self._holder, str(run))
        except (OSError, NotImplementedError) as error:
            raise InputError(
                f"{self._holder.parent}: no locks there ({error}); pass reuse=false, or outputs=<another folder>"
            ) from None

    def release(self) -> None:
        """Let the others look, if this process was in their way."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release(force=True)

    def _told(self) -> str:
        try:
            return self._holder.read_text()
        except OSError:
            return "another job"
