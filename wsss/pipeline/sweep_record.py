"""What a sweep leaves behind: a folder for each job, how each ended (`job.json`), and all of that (`sweep.json`).

Jobs may run in other processes or on other machines, so each keeps its own file, and the sweep gathers them.
"""

import hashlib
import logging
import re
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from wsss.errors import InputError, is_plain
from wsss.reading import read_json
from wsss.writing import write_json

log = logging.getLogger(__name__)

JOB_FILE, SWEEP_FILE = "job.json", "sweep.json"
MAX_NAME = 120  # file systems allow 255 bytes; a run's files and folders come behind it


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Attributes:
        folder: of its run.
        overrides: its options, as they were given; `extra` ones are the sweep's own.
        note: what is told of it although it did not fail.
    """

    folder: Path
    overrides: tuple[str, ...]
    extra: tuple[str, ...] = ()
    note: str | None = None


def job_name(overrides: Sequence[str]) -> str:
    """A job's folder after the options in which it differs: readable, and a file name on every system.

    >>> job_name(["recam.sce_weight=0.1", "cam.stages=[stage4,stage5]"])
    'recam.sce_weight=0.1,cam.stages=stage4+stage5'
    """
    parts = []
    for override in overrides:
        key, _, value = override.partition("=")
        bare = re.sub(r"""[][{}()'"]""", "", value)
        parts.append(f"{key}={re.sub(' *, *', '+', bare)}")
    plain = ",".join(parts)
    safe = re.sub(r"[^A-Za-z0-9._=+,-]", "_", plain)
    if safe == plain and len(safe) <= MAX_NAME and not safe.endswith("."):
        return safe
    # What was lost is told apart by a hash.
    return f"{safe[:MAX_NAME]}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


@contextmanager
def recorded(folder: Path, tell: Callable[[Exception], str]) -> Iterator[None]:
    """Keep in `folder` how the work of a job ends; an exception is logged and goes no further.

    Args:
        folder: of the job's run.
        tell: an exception in one line.
    """
    before = read_job(folder)
    start = time.monotonic()

    def write(state: str, reason: str | None = None) -> None:
        seconds = round(before.get("seconds", 0.0) + time.monotonic() - start, 1)
        write_json(folder / JOB_FILE, before | {"state": state, "reason": reason, "seconds": seconds})

    write("unfinished")
    try:
        yield
    except Exception as error:
        reason = tell(error)
        log.error("%s: failed: %s", folder, reason)
        write("failed", reason)
    except BaseException:
        write("unfinished")
        raise
    else:
        write("done")


def read_job(folder: Path) -> dict[str, Any]:
    """How a job ended, as far as is known."""
    try:
        return read_json(folder / JOB_FILE)
    except InputError:  # none yet, or cut short by a power cut: the job will write it
        return {}


def announce(job: Job) -> None:
    """Make a job's file, unless the same job has one from an earlier start, whose time then adds up."""
    overrides = [*job.overrides]
    if read_job(job.folder).get("overrides") != overrides:
        write_json(
            job.folder / JOB_FILE, {"overrides": overrides, "state": "unfinished", "reason": None, "seconds": 0.0}
        )


def gather(folder: Path, arguments: Sequence[str], jobs: Sequence[Job], *, reason: str | None = None) -> list[str]:
    """Write `sweep.json` from the jobs' files; a line for each job that failed.

    Jobs that an earlier command of the same sweep has left, with other random seeds perhaps, stay in it.

    Args:
        folder: of the sweep.
        arguments: what the sweep was given.
        jobs: its jobs.
        reason: why jobs are unfinished, if that is known.
    """
    entries = []
    for job in {job.folder: job for job in jobs}.values():
        found = read_job(job.folder)
        state = found.get("state", "unfinished")
        entry = {
            "run": job.folder.relative_to(folder).as_posix(),
            "overrides": [*job.overrides],
            "state": state,
            "reason": found.get("reason") or (reason if state == "unfinished" else job.note),
            "seconds": found.get("seconds", 0.0),
        }
        entries.append(entry)
    command = shlex.join(["python", *sys.argv])
    all_entries = [*_former(folder, {entry["run"] for entry in entries}), *entries]
    write_json(folder / SWEEP_FILE, {"command": command, "overrides": [*arguments], "jobs": all_entries})
    ill = [entry for entry in entries if entry["state"] == "failed" or (entry["state"] == "unfinished" and reason)]
    return [f"{entry['run']}: {entry['state']}: {entry['reason']}" for entry in ill]


def jobs_of(folder: Path, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs that a sweep's record lists, each of a folder below the sweep's.

    Raises:
        InputError: if it lists anything else.
    """
    jobs = record.get("jobs")
    if not isinstance(jobs, list) or not all(isinstance(job, dict) and isinstance(job.get("run"), str) for job in jobs):
        raise InputError(f"{folder / SWEEP_FILE}: not a readable record of a sweep (no list of jobs with their runs)")
    for job in jobs:
        parts = PurePath(job["run"]).parts
        if ".." in parts or PurePath(job["run"]).is_absolute() or not is_plain(job["run"]):
            raise InputError(f"{folder / SWEEP_FILE}: run {job['run']!r} is not a folder below it; correct it")
    return jobs


def _former(folder: Path, runs: Collection[str]) -> list[dict[str, Any]]:
    """What `sweep.json` says of jobs that are not among `runs` and whose folders are still there."""
    try:
        jobs = jobs_of(folder, read_json(folder / SWEEP_FILE))
    except InputError:
        return []
    return [job for job in jobs if job["run"] not in runs and (folder / job["run"] / JOB_FILE).is_file()]
