"""Image-level labels, from wherever a data set keeps them."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsss.data.description import DataDescription, folder_class
from wsss.data.files import read_mask
from wsss.data.table import class_name, joined, read_table
from wsss.errors import InputError
from wsss.labels import VOID


def read_labels(description: DataDescription, image_id: str) -> list[int]:
    """Ascending zero-based ids of the classes present in an image.

    From XML every object counts, difficult ones too, as in the reference code of the field (IRN).

    Raises:
        InputError: for a missing or broken file, a name not in the list, or a label value out of range.
    """
    if description.labels == "masks":
        return _from_mask(description, image_id)
    if description.labels == "xml":
        path = description.annotation_path(image_id)
        names: Collection[str] = {name for name, _ in objects_in_xml(path)}
    elif description.labels == "folders":
        path = description.image_path(image_id)
        names = {folder_class(image_id) or ""}
    else:
        path = description.table_path
        table = read_table(path).names
        if image_id not in table:
            raise InputError(f"{path}: image {image_id} is not in the table; add a line, or take it out of the list")
        names = table[image_id]
    _check_names(path, image_id, names, description.classes)
    return sorted(description.classes.index(name) for name in names)


def _from_mask(description: DataDescription, image_id: str) -> list[int]:
    path = description.mask_path(image_id)
    values, counts = np.unique(read_mask(path), return_counts=True)
    check_label_values(path, values, description)
    enough = counts >= description.min_mask_pixels
    return [int(value) - 1 for value in values[enough] if 0 < value < VOID]


def objects_in_xml(path: Path) -> list[tuple[str, ElementTree.Element]]:
    """The objects of a VOC annotation, each with its class's name.

    Raises:
        InputError: if the file is missing or broken.
    """
    try:
        objects = ElementTree.parse(path, ElementTree.XMLParser(target=_Plain())).getroot().iter("object")
        return [(class_name(obj.findtext("name", "").strip(), str(path)), obj) for obj in objects]
    except FileNotFoundError:
        remedy = "add it, or read labels from the masks by data.labels=masks"
        raise InputError(f"{path}: no such annotation; {remedy}") from None
    except InputError:
        raise
    except (ElementTree.ParseError, OSError, LookupError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable XML ({error}); repair the file") from None


class _Plain(ElementTree.TreeBuilder):
    """Refuses a document type: it may declare entities, which grow to gigabytes or read other files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Called before any entity is declared."""
        raise ValueError(f"it declares a document type, {name!r}, which no annotation needs")


def _check_names(path: Path, image_id: str, names: Collection[str], classes: Sequence[str]) -> None:
    unknown = sorted({*names} - {*classes})
    if not unknown:
        return
    where = f"{path}: image {image_id}, class" if path.suffix == ".csv" else f"{path}: class"
    by_case = {name.casefold(): name for name in classes}
    alike = get_close_matches(unknown[0].casefold(), by_case, n=1)
    known = f"did you mean {by_case[alike[0]]!r}?" if alike else f"it is {_shortened(classes)}."
    if parts := joined(unknown[0], by_case):
        known = f"did you mean {';'.join(by_case[part] for part in parts)}?"
    raise InputError(f"{where} {unknown[0]!r} is not in the list; {known} Correct it, or set data.classes")


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 25 else f"{', '.join(names[:20])} and {len(names) - 20} more"


def check_label_values(path: Path, values: NDArray[np.uint8], description: DataDescription) -> None:
    """Refuse label values that are neither background, a class, nor void."""
    wrong = values[(values > description.num_classes) & (values != VOID)]
    if len(wrong):
        raise InputError(
            f"{path}: label value {wrong[0]} is out of range (0 to {description.num_classes}, or {VOID} for void); "
            "correct the mask or data.classes"
        )


def label_table(description: DataDescription, ids: Sequence[str]) -> Tensor:
    """Image-level labels, multi-hot (len(ids), N)."""
    table = torch.zeros(len(ids), description.num_classes)
    for row, image_id in zip(table, ids, strict=True):
        row[read_labels(description, image_id)] = 1
    return table
