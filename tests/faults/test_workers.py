"""Helping processes that are killed: once more without them, the same outputs, never a hang."""

import os
import signal
from collections.abc import Callable

import pytest
from torch.utils.data import get_worker_info

from tests.faults.kill import outputs_of
from tests.pipeline.conftest import SMALL
from wsss.data import ImageDataset
from wsss.errors import InputError, WorkerDiedError
from wsss.pipeline.cli import work_again_alone
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline

OPTIONS = (*SMALL, "logger=none", "cam=cam", "cam.extra=[]", "until=seeds", "reuse=false")


@pytest.fixture
def in_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Have something done in a loader's process wherever it is asked for its third image."""
    original = ImageDataset.__getitem__

    def patch(fault: Callable[[], None]) -> None:
        seen: list[object] = []  # a process of its own has a list of its own

        def faulty(dataset: ImageDataset, index: object) -> object:
            seen.append(index)
            if get_worker_info() is not None and len(seen) == 3:
                fault()
            return original(dataset, index)  # type: ignore[arg-type]  # passed on as it came

        monkeypatch.setattr(ImageDataset, "__getitem__", faulty)

    return patch


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_killed_loader_the_work_goes_on_without_and_comes_to_the_same(
    make_run: Callable[..., Run], in_worker: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_run(*OPTIONS, "run=whole")
    run_pipeline(whole)
    in_worker(kill_oneself)
    run = make_run(*OPTIONS, "trainer.num_workers=1")
    with pytest.raises(WorkerDiedError, match=r"loader process was killed.*trainer\.num_workers=0"):
        run_pipeline(run)
    work_again_alone(run_pipeline, run)
    assert "Once more without further processes" in caplog.text
    assert outputs_of(run.folder) == outputs_of(whole.folder)


def test_what_a_loader_finds_wrong_is_told_as_if_it_were_no_process_of_its_own(
    make_run: Callable[..., Run], in_worker: Callable[..., None]
) -> None:
    def fault() -> None:
        raise InputError("photo.jpg: not a readable image; replace it")

    in_worker(fault)
    with pytest.raises(InputError) as caught:
        run_pipeline(make_run(*OPTIONS, "trainer.num_workers=1"))
    assert str(caught.value) == "photo.jpg: not a readable image; replace it"
