"""Archives are looked through before anything is written, and an interrupted unpacking goes on."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.prepare.conftest import write_tar
from wsss.errors import InputError
from wsss.prepare import unpack


def tar_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("good.txt"), io.BytesIO())
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member)
    return path


def zip_with(path: Path, name: str, mode: int = stat.S_IFREG) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "")
        member = zipfile.ZipInfo(name)
        member.external_attr = (mode | 0o644) << 16
        archive.writestr(member, "../outside")
    return path


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda p: tar_with(p / "a.tar", "inner/../../outside"), "outside"),
        (lambda p: tar_with(p / "a.tar", "/etc/outside"), "/etc/outside"),
        (lambda p: tar_with(p / "a.tar", r"..\outside"), "outside"),
        (lambda p: tar_with(p / "a.tar", "link", tarfile.SYMTYPE, "../outside"), "link"),
        (lambda p: tar_with(p / "a.tar", "hard", tarfile.LNKTYPE, "/etc/passwd"), "hard"),
        (lambda p: tar_with(p / "a.tar", "device", tarfile.CHRTYPE), "device"),
        (lambda p: zip_with(p / "a.zip", "../outside"), "outside"),
        (lambda p: zip_with(p / "a.zip", "C:/outside"), "C:/outside"),
        (lambda p: zip_with(p / "a.zip", "link", stat.S_IFLNK), "link"),
    ],
)
def test_entries_that_lead_outside_are_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[[Path], Path], named: str
) -> None:
    archive = make(tmp_path)
    with pytest.raises(InputError, match=rf"a\.(tar|zip): entry '.*{named}' (leads|is).*nothing was unpacked"):
        unpack(archive, tmp_path / "out", str)
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_only_what_has_a_place_and_is_missing_is_written(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tgz", {"x/one": b"1", "x/two": b"2", "y/three": b"3"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").write_bytes(b"mine")
    place = {"x/one": "one", "x/two": "sub/two"}.get
    assert unpack(archive, tmp_path / "out", place) == 1
    assert (tmp_path / "out" / "one").read_bytes() == b"mine"
    assert (tmp_path / "out" / "sub" / "two").read_bytes() == b"2"
    assert unpack(archive, tmp_path / "out", place) == 0
    assert not list(tmp_path.rglob("*three*"))


def test_a_damaged_archive_keeps_the_sign_back_and_the_next_unpacking_goes_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("lists/all", "data/one", "data/two"):
            archive.writestr(name, f"content of {name}")
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole.replace(b"content of data/two", b"c0ntent of data/two"))
    with pytest.raises(InputError, match=r"a\.zip: not a readable archive .*data/two.*fetch it again"):
        unpack(tmp_path / "a.zip", tmp_path / "out", str, last="lists")
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["one"]
    (tmp_path / "a.zip").write_bytes(whole)
    assert unpack(tmp_path / "a.zip", tmp_path / "out", str, last="lists") == 2
    assert (tmp_path / "out/lists/all").read_text() == "content of lists/all"


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
def test_what_is_no_archive_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=f"{name}: not a readable archive"):
        unpack(tmp_path / name, tmp_path / "out", str)


@pytest.mark.parametrize("name", ["a.tar", "a.zip"])
def test_a_missing_archive_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no such archive; put it there"):
        unpack(tmp_path / name, tmp_path / "out", str)


def test_an_archive_cut_short_is_one_line(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tgz", {"one": bytes(range(256)) * 100})
    archive.write_bytes(archive.read_bytes()[:-50])
    with pytest.raises(InputError, match="not a readable archive"):
        unpack(archive, tmp_path / "out", str)


def test_an_archive_without_the_files_looked_for_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"one": b""})
    with pytest.raises(InputError, match=r"a\.tar: holds none of the files"):
        unpack(archive, tmp_path / "out", lambda _: None)
