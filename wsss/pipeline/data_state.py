"""What the files of a data set hold, by hash: outputs of other pictures under the same names are not a run's own."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from wsss.data import DataDescription
from wsss.reading import hash_file


def data_hash(
    data: DataDescription, splits: Mapping[str, Sequence[str]], labels: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """SHA-256 of what a run sees.

    Args:
        data: the data set.
        splits: ids of the images by the part they play.
        labels: their multi-hot labels, by the same names; a part of another needs none.

    Returns:
        `images`: how many there are; `photographs` and `truth`: hashes of the contents of images and of masks;
        `sha256`: of all, names and labels included.
    """
    parts = [[part, list(ids), labels[part].int().tolist() if part in labels else None] for part, ids in splits.items()]
    whole = hashlib.sha256(json.dumps([list(data.classes), parts]).encode())
    photographs, truth = hashlib.sha256(), hashlib.sha256()
    ids = sorted({image_id for ids in splits.values() for image_id in ids})
    for image_id in ids:
        for path, digest in ((data.image_path(image_id), photographs), (data.mask_path(image_id), truth)):
            content = hash_file(path).encode() if path.exists() else b"none"
            digest.update(content)
            whole.update(content)
    sums = {"sha256": whole, "photographs": photographs, "truth": truth}
    return {"images": len(ids), **{name: digest.hexdigest() for name, digest in sums.items()}}


def files_fingerprint(data: DataDescription, ids: Sequence[str]) -> str:
    """Sizes and times of all files, so that a look at the data is repeated only when one has changed."""
    paths = [path for i in ids for path in (data.image_path(i), data.mask_path(i), data.annotation_path(i))]
    paths += [data.table_path, data.root / "classes.txt"]
    states = [(str(p), s.st_size, s.st_mtime_ns, s.st_ctime_ns) if (s := _stat(p)) else (str(p),) for p in paths]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]


def newest(paths: Iterable[Path]) -> str:
    """The file that was written or put in its place last, and when, for people who wonder what has changed."""
    times = {path: state.st_ctime for path in paths if (state := _stat(path))}
    path = max(times, key=lambda path: times[path])
    return f"{path}, of {datetime.fromtimestamp(times[path]).isoformat(' ', 'seconds')}"


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
