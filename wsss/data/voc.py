"""Data sets in PASCAL VOC layout: what they are called, where their files lie, and how they are read.

    root/JPEGImages/<id>.jpg  SegmentationClass/<id>.png  Annotations/<id>.xml  ImageSets/Segmentation/<split>.txt

Serves real VOC 2012, mini_voc and anything laid out alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from wsss.errors import InputError
from wsss.labels import VOID

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


# What Pillow raises for damaged, foreign and outsize files.
UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError)


@dataclass(frozen=True)
class DataDescription:
    """A data set in VOC layout.

    Attributes:
        name: how reports call it.
        root: its folder.
        classes: names without background; class i has label value i + 1, background 0, void 255.
        labels: where image-level labels come from, `xml` (Annotations) or `masks`.
        mask_folder: folder of the ground-truth masks under root.
        min_mask_pixels: a class with fewer pixels in a mask is not counted as present (`labels="masks"`).
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    labels: str = "xml"
    mask_folder: str = "SegmentationClass"
    min_mask_pixels: int = 1

    @property
    def num_classes(self) -> int:
        """N, without background."""
        return len(self.classes)

    def image_path(self, image_id: str) -> Path:
        """Path of the photograph."""
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def mask_path(self, image_id: str) -> Path:
        """Path of the ground-truth mask."""
        return self.root / self.mask_folder / f"{image_id}.png"

    def annotation_path(self, image_id: str) -> Path:
        """Path of the XML annotation."""
        return self.root / "Annotations" / f"{image_id}.xml"

    def has_masks(self, ids: Sequence[str]) -> bool:
        """Whether the images of `ids` have ground-truth masks.

        Raises:
            InputError: if some have and some have not: half a truth would be scored as the whole.
        """
        missing = [i for i in ids if not self.mask_path(i).exists()]
        if missing and len(missing) < len(ids):
            raise InputError(
                f"{self.mask_path(missing[0])}: no such mask, while other images of the split have theirs; "
                f"add the {len(missing)} missing, or shorten the split"
            )
        return not missing


def describe(
    root: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    labels: str = "auto",
    mask_folder: str = "SegmentationClass",
) -> DataDescription:
    """Describe the data set under `root`, filling in what is not given.

    Args:
        root: folder in VOC layout.
        name: default: the folder's name.
        classes: default: the lines of `root/classes.txt`, else VOC's twenty.
        labels: `xml`, `masks`, or `auto`: XML where there is a folder of it, else masks.
        mask_folder: folder of ground-truth masks.

    Raises:
        InputError: if a folder is missing or an option unknown.
    """
    root = Path(root)
    if not (root / "JPEGImages").is_dir():
        raise InputError(f"{root / 'JPEGImages'}: no such folder; set data.root to a folder in VOC layout")
    if labels not in ("auto", "xml", "masks"):
        raise InputError(f"data.labels={labels}: expected auto, xml or masks")
    if labels == "auto":
        labels = "xml" if (root / "Annotations").is_dir() else "masks"
    source = "data.classes"
    if classes is None:
        listed = root / "classes.txt"
        classes, source = (_lines(listed), str(listed)) if listed.exists() else (VOC_CLASSES, "VOC's classes")
    if not 0 < len(classes) < VOID or len(set(classes)) < len(classes):
        raise InputError(
            f"{source}: expected 1 to {VOID - 1} different names, got {len(classes)}: {', '.join(classes)}"
        )
    if "background" in (name.lower() for name in classes):
        raise InputError(f"{source}: leave out background, which is label 0 by itself; classes count from label 1")
    return DataDescription(name or root.name, root, tuple(classes), labels, mask_folder)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # Windows editors begin with a mark
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a readable text file ({error}); save it as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_split(description: DataDescription, split: str) -> list[str]:
    """Image ids of a split, in the order of its list.

    Raises:
        InputError: if the list is missing or empty, or holds an id twice.
    """
    path = description.root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not path.is_file():
        raise InputError(f"{path}: no such list of images; choose another split or write one image id a line")
    ids = _lines(path)
    unlike = next((line for line in ids if len(line.split()) > 1), None)
    if unlike is not None:
        raise InputError(f"{path}: expected one image id a line, found '{unlike}'; take the rest of such lines out")
    if not ids:
        raise InputError(f"{path}: an empty list; write one image id a line")
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"{path}: image {twice} is listed twice; remove one line")
    return ids


def read_image(path: Path) -> Image.Image:
    """Decode a photograph wholly, as RGB.

    Raises:
        InputError: if it is missing or cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise InputError(f"{path}: no such image; add the file or remove its id from the list") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable image ({error}); replace it or remove its id from the list") from None


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Label values (H, W) of a palette or grey PNG.

    Raises:
        InputError: if it is missing, cannot be decoded, or is a colour picture.
    """
    try:
        with Image.open(path) as image:
            mode, mask = image.mode, np.array(image)
    except FileNotFoundError:
        raise InputError(f"{path}: no such mask; add the file or remove its id from the list") from None
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable mask ({error}); replace it or remove its id from the list") from None
    if mode not in ("P", "L"):
        raise InputError(f"{path}: a mask must hold label values, this one is {mode}; save it as palette or grey PNG")
    return mask


def read_labels(description: DataDescription, image_id: str) -> list[int]:
    """Ascending zero-based ids of the classes present in an image.

    From XML every object counts, difficult ones too, as in the reference code of the field (IRN).

    Raises:
        InputError: for a missing or broken file, a name not in the list, or a label value out of range.
    """
    if description.labels == "masks":
        path = description.mask_path(image_id)
        values, counts = np.unique(read_mask(path), return_counts=True)
        check_label_values(path, values, description)
        return [
            int(v) - 1 for v, c in zip(values, counts, strict=True) if 0 < v < VOID and c >= description.min_mask_pixels
        ]
    path = description.annotation_path(image_id)
    try:
        names = {obj.findtext("name", "").strip() for obj in ElementTree.parse(path).getroot().iter("object")}
    except FileNotFoundError:
        remedy = "add it, or read labels from the masks by data.labels=masks"
        raise InputError(f"{path}: no such annotation; {remedy}") from None
    except (ElementTree.ParseError, OSError, LookupError, ValueError) as error:
        raise InputError(f"{path}: not readable XML ({error}); repair the file") from None
    unknown = names - set(description.classes)
    if unknown:
        known = ", ".join(description.classes)
        raise InputError(f"{path}: class {min(unknown)!r} is not in the list ({known}); correct it or set data.classes")
    return sorted(description.classes.index(name) for name in names)


def check_label_values(path: Path, values: NDArray[np.uint8], description: DataDescription) -> None:
    """Refuse label values that are neither background, a class, nor void."""
    wrong = values[(values > description.num_classes) & (values != VOID)]
    if len(wrong):
        raise InputError(
            f"{path}: label value {wrong[0]} is out of range (0 to {description.num_classes}, or {VOID} for void); "
            "correct the mask or data.classes"
        )


class Sample(NamedTuple):
    """One item, or a batch of them: images uint8, labels multi-hot float, masks integer or empty."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    ids: list[str]


class VOCDataset(Dataset[Sample]):
    """Images with their image-level labels and, where asked for, masks.

    Args:
        description: the data set.
        ids: which images, in order.
        labels: multi-hot (len(ids), N), see `label_table`.
        transform: joint image and mask transform; default: none.
        mask_folder: folder with `<id>.png`, ground truth or pseudo-masks; default: no masks are read.
    """

    def __init__(
        self,
        description: DataDescription,
        ids: Sequence[str],
        labels: Tensor,
        *,
        transform: v2.Transform | None = None,
        mask_folder: Path | None = None,
    ) -> None:
        self.description = description
        self.ids = list(ids)
        self.labels = labels
        self.transform = transform
        self.mask_folder = mask_folder

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        image_id = self.ids[index]
        image = tv_tensors.Image(v2.functional.pil_to_tensor(read_image(self.description.image_path(image_id))))
        if self.mask_folder is None:
            mask = tv_tensors.Mask(torch.empty(0, *image.shape[1:], dtype=torch.uint8))
        else:
            mask = tv_tensors.Mask(torch.from_numpy(read_mask(self.mask_folder / f"{image_id}.png"))[None])
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        # (3, H, W), (N,), (1 or 0, H, W)
        return Sample(image.as_subclass(Tensor), self.labels[index], mask.as_subclass(Tensor), [image_id])


def collate(samples: Sequence[Sample]) -> Sample:
    """Batch samples of one size; masks become (B, H, W) integers, or (B, 0) where there are none."""
    masks = torch.stack([s.masks for s in samples])  # (B, 1 or 0, H, W)
    return Sample(
        torch.stack([s.images for s in samples]),
        torch.stack([s.labels for s in samples]),
        masks[:, 0].long() if masks.shape[1] else masks.flatten(1).long(),
        [i for s in samples for i in s.ids],
    )


def label_table(description: DataDescription, ids: Sequence[str]) -> Tensor:
    """Image-level labels, multi-hot (len(ids), N)."""
    table = torch.zeros(len(ids), description.num_classes)
    for row, image_id in zip(table, ids, strict=True):
        row[read_labels(description, image_id)] = 1
    return table
