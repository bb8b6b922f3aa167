"""Image-level labels in a table people write by hand or export from a spreadsheet: CSV, in one of two forms.

    image,labels                      image,bird,cow
    photos/one.jpg,bird;cow           photos/one.jpg,1,1
    photos/two.jpg,                   photos/two.jpg,0,0

A column `split` says which split an image belongs to. Tabs and semicolons may part the columns instead (the names of a
list are then parted by commas).
"""

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path, PurePosixPath

from wsss.data.files import IMAGE_SUFFIXES, read_lines
from wsss.errors import InputError

_SET, _UNSET = {"1", "1.0", "true", "yes", "x"}, {"", "0", "0.0", "false", "no"}


@dataclass(frozen=True)
class LabelTable:
    """What a table says.

    Attributes:
        classes: names of the classes in order.
        names: class names of each image, as written; there may be unknown ones among them.
        splits: the split of each image, where the table has such a column.
    """

    classes: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, str]


def read_table(path: Path) -> LabelTable:
    """Read `labels.csv`; once for each state of the file.

    Raises:
        InputError: if it is missing or not such a table, or names an image twice.
    """
    try:
        state = path.stat()
    except OSError:
        raise InputError(f"{path}: no such table; write one with the columns image,labels") from None
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _time: int, _size: int) -> LabelTable:
    lines = read_lines(path)
    if not lines:
        raise InputError(f"{path}: an empty table; write a line image,labels and one line an image")
    delimiter = next((sign for sign in ",\t;" if sign in lines[0]), ",")
    head, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter))
    places = {name.casefold(): place for place, name in enumerate(head)}
    split_at, labels_at = places.get("split"), places.get("labels", places.get("label"))
    columns = [place for place in range(1, len(head)) if place != split_at]
    if not columns or (labels_at is not None and len(columns) > 1):
        raise InputError(f"{path}: expected columns image,labels or image and one for each class, got {','.join(head)}")
    names: dict[str, tuple[str, ...]] = {}
    splits: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        place = f"{path}, line {number}"
        if len(row) != len(head):
            raise InputError(f"{place}: {len(row)} columns, the first line has {len(head)}; quote cells with a comma")
        image_id = image_id_of(row[0], place)
        if image_id in names:
            raise InputError(f"{place}: image {image_id} is listed twice; join the two lines")
        if labels_at is None:
            names[image_id] = tuple(head[at] for at in columns if _is_set(row[at], place, head[at]))
        else:
            cell = row[labels_at].split("," if delimiter == ";" else ";")
            names[image_id] = tuple(dict.fromkeys(name.strip() for name in cell if name.strip()))
        if split_at is not None:
            splits[image_id] = row[split_at]
    classes = tuple(head[at] for at in columns) if labels_at is None else _classes(names)
    return LabelTable(classes, names, splits)


def image_id_of(cell: str, place: str) -> str:
    """Path of an image below its folder, without suffix, with `/` between folders.

    Raises:
        InputError: if it leads out of the folder, or is empty.
    """
    path = PurePosixPath(cell.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise InputError(f"{place}: image {cell!r} is not a path below the folder of images; correct it")
    return str(path.with_suffix("") if path.suffix in IMAGE_SUFFIXES else path)


def _is_set(cell: str, place: str, column: str) -> bool:
    if cell.casefold() in _SET:
        return True
    if cell.casefold() in _UNSET:
        return False
    raise InputError(f"{place}: column {column} holds {cell!r}; write 1 where the class is present, else 0")


def _classes(names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """All names but those that look like a slip: once or twice, and much like one that is far more common."""
    counts = Counter(name for of_image in names.values() for name in of_image)

    def is_slip(name: str) -> bool:
        return counts[name] <= 2 and any(
            counts[other] >= 5 * counts[name] and look_alike(name, other) for other in counts if other != name
        )

    return tuple(sorted((name for name in counts if not is_slip(name)), key=lambda name: (name.casefold(), name)))


def look_alike(first: str, second: str) -> bool:
    """Whether one name may be a slip of the pen for the other."""
    return SequenceMatcher(None, first.casefold(), second.casefold(), autojunk=False).ratio() >= 0.75
