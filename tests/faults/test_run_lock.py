"""Two starts in one folder."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsss.errors import InputError
from wsss.pipeline.run_lock import LOCK, sole_start


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Another process that works in the folder until it is killed; its number."""
    children = []

    def holding() -> int:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            with sole_start(tmp_path):
                os.write(writing, b"x")
                signal.pause()
        children.append(child)
        assert os.read(reading, 1) == b"x"  # it has the lock
        return child

    yield holding
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_second_is_told_of_the_first(tmp_path: Path, hold: Callable[[], int]) -> None:
    child = hold()
    with (
        pytest.raises(InputError, match=rf"process {child} on \S+, since \d{{4}}-\d\d-\d\d \d\d:.*choose another run"),
        sole_start(tmp_path),
    ):
        raise AssertionError("two at a time")


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path, hold: Callable[[], int]) -> None:
    child = hold()
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert (tmp_path / f"{LOCK}.holder").exists()  # as it was left
    with sole_start(tmp_path):
        pass
    assert not (tmp_path / f"{LOCK}.holder").exists()


def test_what_cannot_be_read_of_the_first_is_left_out(tmp_path: Path, hold: Callable[[], int]) -> None:
    hold()
    (tmp_path / f"{LOCK}.holder").write_text("{")
    with pytest.raises(InputError, match="another process is working there"), sole_start(tmp_path):
        raise AssertionError("two at a time")


def test_an_error_inside_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), sole_start(tmp_path):
        raise KeyboardInterrupt
    with sole_start(tmp_path):
        pass
