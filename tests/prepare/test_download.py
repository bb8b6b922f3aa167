"""Downloads end in the whole file, checked, or in one line; never in half a file."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.prepare.conftest import Server
from wsss.errors import InputError
from wsss.prepare import Archive, fetch


def archive_of(server: Server, md5: str | None = None) -> Archive:
    return Archive("file.tar", server.url, md5 or hashlib.md5(server.content).hexdigest())


def test_a_file_is_downloaded_once(server: Server, tmp_path: Path) -> None:
    path = fetch(archive_of(server), tmp_path / "new")
    assert path.read_bytes() == server.content
    assert [p.name for p in path.parent.iterdir()] == ["file.tar"]
    assert fetch(archive_of(server), tmp_path / "new") == path
    assert server.served == [len(server.content)]


def test_a_cut_connection_is_resumed_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1000, 5000]
    path = fetch(archive_of(server), tmp_path, pause=0)
    assert path.read_bytes() == server.content
    assert server.ranges == [None, "bytes=1000-", "bytes=6000-"]
    assert server.served == [1000, 5000, len(server.content) - 6000]


def test_after_the_last_attempt_the_next_call_goes_on_from_the_part(server: Server, tmp_path: Path) -> None:
    server.cut_after = [1000, 1000]
    with pytest.raises(InputError, match=r"2 attempts .*the same command goes on from .*file\.tar\.part"):
        fetch(archive_of(server), tmp_path, attempts=2, pause=0)
    assert (tmp_path / "file.tar.part").stat().st_size == 2000
    assert fetch(archive_of(server), tmp_path).read_bytes() == server.content
    assert sum(server.served) == len(server.content)


def test_a_server_that_ignores_range_sends_the_whole_file_anew(server: Server, tmp_path: Path) -> None:
    server.cut_after, server.honours_range = [1000], False
    assert fetch(archive_of(server), tmp_path, pause=0).read_bytes() == server.content
    assert server.ranges == [None, "bytes=1000-"]


@pytest.mark.parametrize("honours_range", [True, False])
def test_a_part_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path, honours_range: bool) -> None:
    server.honours_range = honours_range
    (tmp_path / "file.tar.part").write_bytes(b"x" * (len(server.content) + 5))
    assert fetch(archive_of(server), tmp_path, pause=0).read_bytes() == server.content


def test_a_whole_part_needs_no_connection(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.tar.part").write_bytes(server.content)
    assert fetch(archive_of(server), tmp_path).read_bytes() == server.content
    assert server.ranges == []


@pytest.mark.parametrize("part", [b"", b"spoilt"])
def test_a_wrong_checksum_is_refused_and_leaves_nothing(server: Server, tmp_path: Path, part: bytes) -> None:
    if part:
        (tmp_path / "file.tar.part").write_bytes(part)
        archive, sent = archive_of(server), part + server.content[len(part) :]
    else:
        archive, sent = archive_of(server, "0" * 32), server.content
    found = hashlib.md5(sent).hexdigest()
    with pytest.raises(InputError, match=f"file.tar: expected MD5 {archive.md5}, found {found}.*try again"):
        fetch(archive, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_archive_of_the_user_is_refused_and_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.tar").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"expected MD5 .*, found .*; delete it"):
        fetch(archive_of(server), tmp_path)
    assert (tmp_path / "file.tar").read_bytes() == b"mine"


def test_what_the_server_refuses_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(InputError, match=r"/file: the server refused it .*404.*mirror.*file\.tar"):
        fetch(archive_of(server), tmp_path)
    assert len(server.ranges) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_failing_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(InputError, match=r"3 attempts .*503"):
        fetch(archive_of(server), tmp_path, attempts=3, pause=0)
    assert len(server.ranges) == 3


def test_an_address_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file:///etc/passwd: .*http://"):
        fetch(Archive("a", "file:///etc/passwd", "0"), tmp_path)


def test_a_full_disk_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=10))
    with pytest.raises(InputError, match=r"GB are needed, 0\.00 GB are free; free some space"):
        fetch(archive_of(server), tmp_path)
    assert list(tmp_path.iterdir()) == []
