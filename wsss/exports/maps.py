"""Label maps of a data set on disk, and which image a file of another tool belongs to."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from wsss.data import DataDescription, check_label_values, read_mask
from wsss.errors import InputError


@dataclass(frozen=True)
class LabelMaps:
    """Label maps `<folder>/<id>.png` of the images `ids`; iterating reads them one by one.

    Attributes:
        data: the data set they belong to.
        ids: which images, in order.
        folder: where they lie; an id with `/` lies in a folder of it.
    """

    data: DataDescription
    ids: Sequence[str]
    folder: Path

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Image ids, and labels (H, W)."""
        for image_id in self.ids:
            path = self.folder / f"{image_id}.png"
            labels = read_mask(path)
            check_label_values(path, np.unique(labels), self.data)
            yield image_id, labels

    def image_file(self, image_id: str) -> str:
        """Path of an image relative to the folder of the images."""
        return image_id + self.data.image_path(image_id).suffix


class ImageFinder:
    """The image that a file of another tool belongs to, by its name with or without folders and suffix.

    Label Studio puts eight hexadecimal digits before an uploaded file's name, loses its folders, and makes spaces `_`.

    Args:
        ids: the images there are.
        source: where the names come from, for errors.
    """

    def __init__(self, ids: Sequence[str], source: Path) -> None:
        self.source = source
        self.ids_by_name: dict[str, list[str]] = defaultdict(list)
        self.ids_by_upload: dict[str, list[str]] = defaultdict(list)
        for image_id in ids:
            name = PurePosixPath(image_id).name
            self.ids_by_name[name].append(image_id)
            self.ids_by_upload[_uploaded(name)].append(image_id)
        self.names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The image's id.

        Raises:
            InputError: if no image, or several, or one that another name has taken, go by this name.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        found = self._alike(path) or self._alike(path.parent / path.stem) or self._uploads(path)
        if not found:
            raise InputError(f"{self.source}: {name} is none of the run's train images; rename it or leave it out")
        if len(found) > 1:
            raise InputError(f"{self.source}: {name} may be {' or '.join(found)}; give its folder too")
        if found[0] in self.names:
            raise InputError(
                f"{self.source}: {self.names[found[0]]} and {name} are both image {found[0]}; leave one out"
            )
        self.names[found[0]] = name
        return found[0]

    def _alike(self, path: PurePosixPath) -> list[str]:
        """Ids that end as the path does, or the path as they do; the very same alone if there is one."""
        ids = self.ids_by_name.get(path.name, [])
        return [str(path)] if str(path) in ids else [i for i in ids if _ends_alike(PurePosixPath(i), path)]

    def _uploads(self, path: PurePosixPath) -> list[str]:
        name = re.fullmatch(r"[0-9a-f]{8}-(.+)", path.name)
        names = (_uploaded(name[1]), _uploaded(PurePosixPath(name[1]).stem)) if name else ()
        return next((ids for known in names if (ids := self.ids_by_upload.get(known))), [])


def _uploaded(name: str) -> str:
    """A name as Django, and so Label Studio, stores it."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _ends_alike(one: PurePosixPath, other: PurePosixPath) -> bool:
    shared = min(len(one.parts), len(other.parts))
    return one.parts[-shared:] == other.parts[-shared:]
