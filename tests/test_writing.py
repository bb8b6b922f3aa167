"""Files and folders are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsss.writing import remove_leftovers, whole_file, whole_folder


def test_a_file_appears_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with whole_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failing_block_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), whole_file(path) as file:  # noqa: PT012  the failure belongs inside the block
        file.write(b"ne")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_any_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "a") as file:
        file.write(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a"
    for _ in ("new", "empty"):
        with whole_folder(path) as folder:
            (folder / "file").touch()
            assert not list(path.glob("*"))
        (path / "file").unlink()
        assert list(path.parent.iterdir()) == [path]


def test_a_failing_block_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk"), whole_folder(tmp_path / "a") as folder:  # noqa: PT012  as above
        (folder / "file").touch()
        raise OSError("disk")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    begun = tmp_path / "seeds" / ".photo.npz-0123abcd"
    others = [tmp_path / ".photo.npz-0123abcd", tmp_path / ".lock", tmp_path / "photo.npz", tmp_path / ".a-0123abcg"]
    for path in (begun, *others):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in (begun, *others[1:]):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert not begun.exists()
    assert all(path.exists() for path in others)
