"""Disks that are full, read-only or lose files: one line, finished work kept, and the next start ends right."""

import errno
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from tests.faults.kill import outputs_of
from tests.pipeline.conftest import SMALL
from wsss.errors import InputError, disk_fault
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.report import make_report
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
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves the folder of a run that nothing has disturbed, for itself and the others."""
    return tmp_path_factory.mktemp("kept") / "run"


@pytest.fixture
def finished(kept: Path, make_run: Callable[..., Run]) -> Run:
    """A run that has ended, a copy of that one."""
    run = make_run(*OPTIONS)
    if not kept.exists():
        run_pipeline(run)
        shutil.copytree(run.folder, kept)
    elif not run.folder.exists():
        shutil.copytree(kept, run.folder)
    return run


@pytest.fixture
def expected(finished: Run) -> dict[str, str]:
    """Its outputs; the folder that a test works in is empty."""
    outputs = outputs_of(finished.folder)
    shutil.rmtree(finished.folder)
    return outputs


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


def test_what_torch_says_of_a_disk_that_has_taken_a_part_is_told_as_any_other(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "model.pt"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught, whole_file(path) as file:
            torch.save({"weight": torch.rand(1 << 18)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(disk_fault(caught.value)).startswith(f"{path}: File too large; make room, or choose outputs=<")
    assert not [*tmp_path.iterdir()]


OUTPUTS = ("classifier/model.pt", "seeds/{}.npz", "masks/{}.png", "segmenter/model.pt")
TABLES = ("seeds/iou.csv", "seeds/curve.csv", "masks/iou.csv", "segmenter/iou.csv")


@pytest.mark.parametrize("name", [*OUTPUTS, *TABLES])
def test_a_truncated_output_is_named_and_made_anew_once_deleted(
    make_run: Callable[..., Run], finished: Run, name: str
) -> None:
    whole = outputs_of(finished.folder)
    path = finished.folder / name.format(finished.train_ids[0])
    path.write_bytes(path.read_bytes()[:-20])
    for work in (run_pipeline, make_report) if name in TABLES else (run_pipeline,):
        with pytest.raises(InputError, match=rf"{path.name}: not as the step has left it; delete it"):
            work(make_run(*OPTIONS))
    path.unlink()
    run_pipeline(make_run(*OPTIONS))
    assert outputs_of(finished.folder) == whole


def test_a_page_made_while_a_step_writes_its_tables_anew_is_made(make_run: Callable[..., Run], finished: Run) -> None:
    manifest = finished.folder / "seeds" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"state": "done"', '"state": "running"'))
    (finished.folder / "seeds" / "iou.csv").write_text("label,iou\nbackground,50\n")
    assert make_report(make_run(*OPTIONS)).exists()


def test_a_model_changed_at_the_same_size_is_noticed(make_run: Callable[..., Run], finished: Run) -> None:
    path = finished.folder / "classifier" / "model.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pt: not as the step has left it"):
        run_pipeline(make_run(*OPTIONS, "until=classifier"))


def test_files_that_vanish_under_way_are_named(make_run: Callable[..., Run], finished: Run) -> None:
    shutil.rmtree(finished.folder / "masks")
    seeds = finished.folder / "seeds" / f"{finished.train_ids[1]}.npz"
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
