"""Image-level labels in a table people write by hand or export from a spreadsheet: CSV, in one of two forms.

    image,labels                      image,bird,cow
    photos/one.jpg,bird;cow           photos/one.jpg,1,1
    photos/two.jpg,                   photos/two.jpg,0,0

A column `split` says which split an image belongs to. Tabs and semicolons may part the columns instead (commas may then
part the names of a list, too). Names that hold a comma or a semicolon need the second form.
"""

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from io import StringIO
from pathlib import Path, PurePosixPath

from wsss.data.files import IMAGE_SUFFIXES
from wsss.errors import InputError, is_plain
from wsss.labels import VOID
from wsss.reading import read_text

LONGEST_NAME = 200  # letters of a class, or of a file or folder
_SET, _UNSET = {"1", "1.0", "true", "yes", "x"}, {"", "0", "0.0", "false", "no"}


@dataclass(frozen=True)
class LabelTable:
    """What a table says.

    Attributes:
        classes: names of the classes in order.
        names: class names of each image, as written; there may be unknown ones among them.
        splits: the split of each image in lower case, where the table has such a column.
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
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: an empty table; write a line image,labels and one line an image")
    sign = re.search(r"[,;\t]", text.strip().partition("\n")[0])
    delimiter = sign[0] if sign else ","
    (_, head), *rows = _rows(path, text, delimiter) or [(1, [""])]
    if not any(head):
        raise InputError(f"{path}: no columns; write a first line image,labels")
    while not head[-1]:  # spreadsheets leave empty columns behind
        head.pop()
    head = [class_name(cell, f"{path}, line 1") for cell in head]
    places = {name.casefold(): place for place, name in enumerate(head)}
    split_at, labels_at = places.get("split"), places.get("labels", places.get("label"))
    columns = [place for place in range(1, len(head)) if place != split_at]
    if not columns or (labels_at is not None and len(columns) > 1):
        raise InputError(f"{path}: expected columns image,labels or image and one for each class, got {','.join(head)}")
    if "" in head[1:]:
        raise InputError(f"{path}: column {head.index('', 1) + 1} has no name; write its class in the first line")
    names: dict[str, tuple[str, ...]] = {}
    splits: dict[str, str] = {}
    for number, row in rows:
        place = f"{path}, line {number}"
        if len(row) < len(head) or any(row[len(head) :]):
            raise InputError(
                f"{place}: {len(row)} columns, the first line has {len(head)}; quote cells with a {delimiter!r}, "
                "leave no cell out"
            )
        image_id = image_id_of(row[0], place)
        if image_id in names:
            raise InputError(f"{place}: image {image_id} is listed twice; join the two lines")
        if labels_at is None:
            names[image_id] = tuple(head[at] for at in columns if _is_set(row[at], place, head[at]))
        else:
            names[image_id] = _names_in(row[labels_at], place, delimiter)
        if split_at is not None:
            splits[image_id] = row[split_at].casefold()
    classes = tuple(head[at] for at in columns) if labels_at is None else _classes(names)
    return LabelTable(classes, names, splits)


def _rows(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows that hold anything: the line each begins in, and its cells."""
    reader, rows, line = csv.reader(StringIO(text), delimiter=delimiter), [], 1
    try:
        for cells in reader:
            rows.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: {error}; is a quote left open?") from None
    return [(number, cells) for number, cells in rows if any(cells)]


def class_name(text: str, place: str) -> str:
    """A class's name, the same however keyboards and disks compose its letters and spaces.

    Raises:
        InputError: if it has control characters in it, or is no name for its length.
    """
    if len(text) > LONGEST_NAME:
        raise InputError(f"{place}: a name of {len(text)} letters, {text[:20]} …; is a quote or line left open?")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not is_plain(name):
        raise InputError(f"{place}: class {name!r} holds control characters; take them out")
    return name


def _names_in(cell: str, place: str, delimiter: str) -> tuple[str, ...]:
    parts = [part.strip() for part in re.split(";" if delimiter == "," else "[;,]", cell)]
    for part in parts:
        if "\n" in part:
            raise InputError(f"{place}: a name goes on in the next line; is a quote left open?")
        if "," in part:
            raise InputError(f"{place}: {part!r} holds a comma; part names by ; or give each class a column")
    return tuple(dict.fromkeys(class_name(part, place) for part in parts if part))


def image_id_of(cell: str, place: str) -> str:
    """Path of an image below its folder, without suffix, with `/` between folders.

    Raises:
        InputError: if it leads out of the folder, is empty, or no name that disks take.
    """
    path = PurePosixPath(cell.replace("\\", "/"))
    leads_out = not path.name or path.is_absolute() or ".." in path.parts
    if leads_out or not is_plain(cell) or max(map(len, path.parts)) > LONGEST_NAME or len(cell) > 5 * LONGEST_NAME:
        raise InputError(f"{place}: image {cell!r} is not a path below the folder of images; correct it")
    return str(path.with_suffix("") if path.suffix in IMAGE_SUFFIXES else path)


def _is_set(cell: str, place: str, column: str) -> bool:
    if cell.casefold() in _SET:
        return True
    if cell.casefold() in _UNSET:
        return False
    raise InputError(f"{place}: column {column} holds {cell!r}; write 1 where the class is present, else 0")


def _classes(names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """All names but those that look like a slip: in other case than a more common one, or, rare, a letter off one.

    Neither are several of them in a row, as by a sign that does not part names here.
    """
    counts = Counter(name for of_image in names.values() for name in of_image)
    by_case = {name.casefold(): name for name in sorted(counts, key=lambda name: (counts[name], name))}

    def is_slip(name: str) -> bool:
        common = (other for other in by_case.values() if counts[other] >= 5 * counts[name])
        return counts[name] <= 2 and any(is_letter_off(name, other) for other in common)

    # Of more names than there can be classes, all are told.
    kept = [name for name in by_case.values() if len(by_case) >= VOID or not (is_slip(name) or joined(name, by_case))]
    return tuple(sorted(kept, key=lambda name: (name.casefold(), name)))


def joined(name: str, known: Container[str]) -> list[str]:
    """The names that one consists of, if each is known in lower case by itself; else none."""
    for sign in (r"\s*[|/+&]\s*", r"\s+"):
        parts = re.split(sign, name.casefold())
        if len(parts) > 1 and all(part in known for part in parts):
            return parts
    return []


def look_alike(first: str, second: str) -> bool:
    """Whether two names are the same but for case, a letter off one another, or share three quarters of their letters.

    Names that differ in numbers alone do not.
    """
    one, other = (re.sub(r"\d+", "0", name.casefold()) for name in (first, second))
    if first.casefold() == second.casefold() or is_letter_off(first, second):
        return True
    return one != other and SequenceMatcher(None, one, other, autojunk=False).ratio() >= 0.75


def is_letter_off(first: str, second: str) -> bool:
    """Whether one letter too many, too few, changed or swapped with its neighbour, in a word of three, parts two names.

    Digits are no letters: `class 1` and `class 2` are two classes, and so are `type A` and `type B`.
    """
    words = first.casefold().split(), second.casefold().split()
    apart = [(one, other) for one, other in zip(*words, strict=False) if one != other]
    is_one_word = len(words[0]) == len(words[1]) and len(apart) == 1
    one, other = apart[0] if is_one_word else (first.casefold(), second.casefold())
    start = _shared(one, other)
    end = _shared(one[start:][::-1], other[start:][::-1])
    middles = one[start : len(one) - end], other[start : len(other) - end]
    is_one_edit = max(map(len, middles)) == 1 or (len(middles[0]) == 2 and middles[0] == middles[1][::-1])
    return is_one_edit and min(len(one), len(other)) >= 3 and not re.search(r"\d", "".join(middles))


def _shared(one: str, other: str) -> int:
    """Letters that two words begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
