"""Disks that are full, read-only or lose files: one line, finished work kept, and the next start ends right."""

import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from tests.faults.kill import outputs_of
from tests.pipeline.conftest import SMALL
from wsss.errors import InputError
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.writing import whole_file

OPTIONS = (*SMALL, "logger=none", "cam=cam", "cam.extra=[]", "masks=threshold", "until=segmenter", "reuse=false")


class Full(io.FileIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def break_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A context in which writing the n-th file fails, by what a disk may say."""
    real_open = Path.open

    @contextmanager
    def broken(number: int, code: int) -> Iterator[list[Path]]:
        files, begun = count(), list[Path]()

        def failing_open(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
            if mode != "xb" or next(files) < number:
                return real_open(path, mode, *arguments, **options)
            begun.append(path)
            if code == errno.ENOSPC:
                return io.BufferedWriter(Full(path, "xb"))
            raise OSError(code, os.strerror(code), str(path))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", failing_open)
            yield begun

    return broken


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, str]]:
    """The outputs of a run that nothing has disturbed, kept from the first test on."""
    return {}


@pytest.fixture
def expected(undisturbed: dict[str, dict[str, str]], make_run: Callable[..., Run]) -> dict[str, str]:
    if not undisturbed:
        run = make_run(*OPTIONS, "run=undisturbed")
        run_pipeline(run)
        undisturbed["run"] = outputs_of(run.folder)
    return undisturbed["run"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(0, errno.EROFS), (2, errno.ENOSPC), (9, errno.EACCES), (15, errno.ENOSPC), (20, errno.EDQUOT)],
)
def test_a_disk_that_takes_no_more_is_told_in_a_line_and_the_next_start_ends_right(
    make_run: Callable[..., Run],
    break_disk: Callable[..., Any],
    expected: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    number: int,
    code: int,
) -> None:
    with pytest.raises(SystemExit), break_disk(number, code) as begun, one_line_errors():
        run_pipeline(make_run(*OPTIONS))
    told = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(told) == 1, told
    assert os.strerror(code) in told[0]
    assert "outputs=<" in told[0]
    assert begun
    assert not any(path.exists() for path in begun)
    run = make_run(*OPTIONS)
    run_pipeline(run)
    assert outputs_of(run.folder) == expected


def test_a_failing_write_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught, whole_file(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_large_file_beyond_the_limit_of_the_process(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match="File too large"), whole_file(tmp_path / "large") as file:
            file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["classifier/model.pt", "seeds/{}.npz", "masks/{}.png", "segmenter/model.pt"])
def test_a_truncated_output_is_named_and_made_anew_once_deleted(
    make_run: Callable[..., Run], expected: dict[str, str], name: str
) -> None:
    run = make_run(*OPTIONS)
    run_pipeline(run)
    path = run.folder / name.format(run.train_ids[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{path.name}: not as the step has left it; delete it"):
        run_pipeline(make_run(*OPTIONS))
    path.unlink()
    run_pipeline(make_run(*OPTIONS))
    assert outputs_of(run.folder) == expected


def test_a_model_changed_at_the_same_size_is_noticed(make_run: Callable[..., Run]) -> None:
    run = make_run(*OPTIONS, "until=classifier")
    run_pipeline(run)
    path = run.folder / "classifier" / "model.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pt: not as the step has left it"):
        run_pipeline(make_run(*OPTIONS, "until=classifier"))


def test_files_that_vanish_under_way_are_named(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(*OPTIONS, "until=seeds")
    run_pipeline(run)
    seeds = run.folder / "seeds" / f"{run.train_ids[1]}.npz"
    masks = make_run(*OPTIONS)
    seeds.unlink()
    from wsss.pipeline.make_masks import make_masks

    with pytest.raises(InputError, match=f"{seeds.name}: no seeds here"):
        make_masks(masks)


def test_a_clock_that_jumps_back_changes_nothing(
    make_run: Callable[..., Run], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    run = make_run(*OPTIONS)
    results = run_pipeline(run)
    assert all(value >= 0 for key, value in results.items() if key.startswith("time/"))
    assert outputs_of(run.folder) == expected
