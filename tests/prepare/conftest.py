"""Tiny archives built in the test, and a server of them on the loopback address that may cut connections."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from wsss.data import save_mask
from wsss.prepare import Archive

SIZE = (6, 4)  # width, height
TRAIN, VAL = ["a_train", "b_train"], ["c_val"]
SBD_IDS = ["b_train", "c_val", "d_sbd", "e_sbd"]
COUNTS = {"train": 2, "val": 1, "trainaug": 4, "test": 1}
CLASSES = {"a_train": ["person", "aeroplane"], "b_train": ["dog"], "c_val": ["cat"], "d_sbd": ["sofa"], "e_sbd": []}


def mask_of(image_id: str, *, sbd: bool) -> np.ndarray:
    """Labels that tell image and source apart."""
    rng = np.random.default_rng([*image_id.encode(), sbd])
    return rng.choice(np.array([0, 3, 20, 255], np.uint8), SIZE[::-1])


def png(mask: np.ndarray, folder: Path) -> bytes:
    save_mask(folder / "mask.png", mask)
    return (folder / "mask.png").read_bytes()


def mat(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"GTcls": {"Segmentation": mask, "CategoriesPresent": [[1]]}})
    return buffer.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def as_archive(path: Path, url: str = "http://127.0.0.1:9/never") -> Archive:
    return Archive(path.name, url, hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else "")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """VOC's and SBD's archives in small: five images, of which SBD has four, one of them in VOC's val."""
    folder = tmp_path / "archives"
    folder.mkdir()
    voc = {f"ImageSets/Segmentation/{s}.txt": "\n".join(ids).encode() for s, ids in (("train", TRAIN), ("val", VAL))}
    for image_id, names in CLASSES.items():
        buffer = io.BytesIO()
        Image.new("RGB", SIZE).save(buffer, format="JPEG")
        voc[f"JPEGImages/{image_id}.jpg"] = buffer.getvalue()
        objects = "".join(f"<object><name>{name}</name><difficult>1</difficult></object>" for name in names)
        voc[f"Annotations/{image_id}.xml"] = f"<annotation>{objects}</annotation>".encode()
    voc |= {f"SegmentationClass/{i}.png": png(mask_of(i, sbd=False), tmp_path) for i in TRAIN + VAL}
    voc["SegmentationObject/a_train.png"] = b"not needed"
    write_tar(folder / "voc.tar", {f"VOCdevkit/VOC2012/{name}": content for name, content in voc.items()})
    sbd = {f"benchmark_RELEASE/dataset/cls/{i}.mat": mat(mask_of(i, sbd=True)) for i in SBD_IDS}
    write_tar(folder / "sbd.tgz", {**sbd, "benchmark_RELEASE/dataset/inst/d_sbd.mat": b"not needed"})
    return folder


@dataclass
class Server:
    """One file, over HTTP.

    Attributes:
        content: of the file.
        cut_after: bytes after which a connection is cut, one number for each connection that is to be cut.
        honours_range: whether Range is understood.
        status: to answer instead of the file.
        served: bytes sent over each connection.
        ranges: the Range header of each request.
    """

    content: bytes
    cut_after: list[int] = field(default_factory=list)
    honours_range: bool = True
    status: int | None = None
    served: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *args: object) -> None:
        self.file = server
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.file.ranges.append(wanted)
        if self.file.status is not None:
            self.send_error(self.file.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.file.honours_range else 0
        if start >= len(self.file.content):
            self.send_error(416)
            return
        content = self.file.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.file.cut_after:
            content = content[: self.file.cut_after.pop(0)]
        self.file.served.append(len(content))  # before the client can see the end
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    file = Server(content=bytes(range(256)) * 400)
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, file))
    http_server.daemon_threads = True
    file.url = f"http://127.0.0.1:{http_server.server_port}/file"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield file
    http_server.shutdown()
    http_server.server_close()
    thread.join()
