"""Archives from the network: resumed where they broke off, checked, and there whole or not at all."""

import hashlib
import http.client
import logging
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from wsss.errors import InputError
from wsss.prepare.disk import check_space
from wsss.progress import follow_bytes

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes
TIMEOUT = 60  # seconds without a byte after which a connection counts as lost
CONNECTION_LOST = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


@dataclass(frozen=True)
class Archive:
    """A file that others publish.

    Attributes:
        name: of the file.
        url: where it is published.
        md5: its checksum in hexadecimal digits.
    """

    name: str
    url: str
    md5: str


def fetch(archive: Archive, folder: Path, *, attempts: int = 5, pause: float = 2.0) -> Path:
    """The archive's file in `folder`, checked, and downloaded if it is not there.

    Args:
        archive: what to fetch.
        folder: made if it is missing; an interrupted download stays there as `<name>.part`.
        attempts: connections tried before giving up.
        pause: seconds between them.

    Raises:
        InputError: if the checksum differs, the server refuses, or the connection fails for good.
    """
    path = folder / archive.name
    if path.exists():
        found = _md5_of(path).hexdigest()
        if found != archive.md5:
            remedy = "delete it, and the same command downloads it anew"
            raise InputError(f"{path}: expected MD5 {archive.md5}, found {found}; {remedy}")
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{archive.name}.part"
    found = _download(archive, part, attempts, pause)
    if found != archive.md5:
        part.unlink()
        remedy = "what came was deleted; try again, or name a mirror (see --help)"
        raise InputError(f"{path}: expected MD5 {archive.md5}, found {found} at {archive.url}; {remedy}")
    part.replace(path)
    log.info("downloaded %s", path)
    return path


def _download(archive: Archive, part: Path, attempts: int, pause: float) -> str:
    """Fill `part` over as many connections as it takes; its checksum."""
    if not archive.url.startswith(("http://", "https://")):
        raise InputError(f"{archive.url}: not an address to download from; begin it with http:// or https://")
    failure: Exception | None = None
    for attempt in range(attempts):
        if attempt:
            log.warning("%s: %s; trying again", archive.name, failure)
            time.sleep(pause)
        try:
            return _receive(archive, part)
        except urllib.error.HTTPError as error:
            failure = error
            if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)  # longer than the file: of no use
            elif error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                remedy = f"name a mirror (see --help), or put {archive.name} into {part.parent}"
                raise InputError(f"{archive.url}: the server refused it ({error}); {remedy}") from error
        except CONNECTION_LOST as error:
            failure = error
    remedy = f"the same command goes on from {part}"
    raise InputError(f"{archive.url}: no luck in {attempts} attempts ({failure}); {remedy}") from failure


def _receive(archive: Archive, part: Path) -> str:
    """Append to `part` what it lacks, over one connection; its checksum."""
    size = part.stat().st_size if part.exists() else 0
    digest = _md5_of(part) if size else hashlib.md5(usedforsecurity=False)
    if digest.hexdigest() == archive.md5:
        return archive.md5
    headers = {"Range": f"bytes={size}-"} if size else {}
    request = urllib.request.Request(archive.url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:  # the whole file comes
            digest, size = hashlib.md5(usedforsecurity=False), 0
        length = int(response.headers.get("Content-Length", 0))
        check_space(part.parent, length)
        chunks = iter(partial(response.read1, CHUNK), b"")  # what has come, so that a cut loses nothing of it
        with part.open("ab") as file:
            file.truncate(size)
            for chunk in follow_bytes(chunks, archive.name, done=size, total=size + length):
                file.write(chunk)
                digest.update(chunk)
                size, length = size + len(chunk), length - len(chunk)
    if length > 0:
        raise ConnectionError(f"the connection ended {length:,} bytes early, after {size:,}")
    return digest.hexdigest()


def _md5_of(path: Path) -> "hashlib._Hash":
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest
