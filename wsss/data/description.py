"""What a data set is called, where its files lie, and which images its splits hold.

Two layouts, told apart by their folders:

    VOC      JPEGImages/<id>.jpg  SegmentationClass/<id>.png  Annotations/<id>.xml  ImageSets/Segmentation/<split>.txt
    folder   images/<id>.*  masks/<id>.png  labels.csv  classes.txt  train.txt  val.txt

Of a folder everything but the images is optional: images may lie in root itself, labels may be the names of their
folders (`root/bird/one.jpg`), masks serve scores alone, and a missing split is drawn at random, class by class.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from wsss.data.files import IMAGE_SUFFIXES, read_lines
from wsss.data.split import stratified_split
from wsss.data.table import class_name, image_id_of, read_table
from wsss.errors import InputError, is_plain
from wsss.labels import VOID

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LABEL_SOURCES = ("table", "xml", "masks", "folders")


@dataclass(frozen=True)
class DataDescription:
    """A data set.

    Attributes:
        name: how reports call it.
        root: its folder.
        classes: names without background; class i has label value i + 1, background 0, void 255.
        labels: where image-level labels come from: `table` (labels.csv), `xml` (Annotations), `masks`, or `folders`
            (the folder an image lies in).
        image_folder: folder of the photographs under root.
        mask_folder: folder of the ground-truth masks under root.
        min_mask_pixels: a class with fewer pixels in a mask is not counted as present (`labels="masks"`).
        val_share: share of the images for `val`, where the data set has no splits.
        split_seed: random seed of that split.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    labels: str = "xml"
    image_folder: str = "JPEGImages"
    mask_folder: str = "SegmentationClass"
    min_mask_pixels: int = 1
    val_share: float = 0.2
    split_seed: int = 0

    @property
    def num_classes(self) -> int:
        """N, without background."""
        return len(self.classes)

    def image_path(self, image_id: str) -> Path:
        """Path of the photograph; of one that is missing, what it would be as JPEG."""
        return next(self._image_files(image_id), self.root / self.image_folder / f"{image_id}.jpg")

    def image_paths(self, image_id: str) -> list[Path]:
        """All files that go by this id; more than one is a fault."""
        # Where a.jpg and a.JPG are one name, they are one file.
        return list({path.stat().st_ino: path for path in self._image_files(image_id)}.values())

    def _image_files(self, image_id: str) -> Iterator[Path]:
        folder = self.root / self.image_folder
        return (path for suffix in IMAGE_SUFFIXES if (path := folder / f"{image_id}{suffix}").exists())

    def mask_path(self, image_id: str) -> Path:
        """Path of the ground-truth mask."""
        return self.root / self.mask_folder / f"{image_id}.png"

    def annotation_path(self, image_id: str) -> Path:
        """Path of the XML annotation."""
        return self.root / "Annotations" / f"{image_id}.xml"

    @property
    def table_path(self) -> Path:
        """Path of the table of labels."""
        return self.root / "labels.csv"

    def has_masks(self, ids: Sequence[str]) -> bool:
        """Whether the images of `ids` have ground-truth masks.

        Raises:
            InputError: if some have and some have not: half a truth would be scored as the whole.
        """
        missing = [i for i in ids if not self.mask_path(i).exists()]
        if missing and len(missing) < len(ids):
            raise InputError(
                f"{self.mask_path(missing[0])}: no such mask, while other images of the split have theirs; add the "
                f"{len(missing)} missing, shorten the split (or, of train images, name a list of those to score by "
                "data.score=<list>), or pass data.skip_bad=true"
            )
        return not missing


def describe(
    root: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    labels: str = "auto",
    image_folder: str | None = None,
    mask_folder: str | None = None,
    val_share: float = 0.2,
    split_seed: int = 0,
) -> DataDescription:
    """Describe the data set under `root`, filling in what is not given.

    Args:
        root: its folder, in VOC layout or with images of one's own.
        name: default: the folder's name.
        classes: default: the lines of `root/classes.txt`, which may begin with background; else VOC's twenty in VOC
            layout, else what the table or the folders of images name.
        labels: one of `LABEL_SOURCES`, or `auto`: the first of these that is there.
        image_folder: default: JPEGImages or images, whichever is there, else root itself.
        mask_folder: default: SegmentationClass or masks.
        val_share: share of the images for `val`, where the data set has no splits.
        split_seed: random seed of that split.

    Raises:
        InputError: if a folder is missing or an option unknown.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set data.root to a folder of images")
    if image_folder is None:
        image_folder = _first_folder(root, "JPEGImages", "images") or "."
    elif not (root / image_folder).is_dir():
        raise InputError(f"{root / image_folder}: no such folder; set data.image_folder to the folder of images")
    if labels not in ("auto", *LABEL_SOURCES):
        raise InputError(f"data.labels={labels}: expected auto, {', '.join(LABEL_SOURCES)}")
    is_voc = image_folder == "JPEGImages"
    masks = mask_folder or _first_folder(root, "SegmentationClass", "masks") or ("masks", "SegmentationClass")[is_voc]
    if labels == "auto":
        labels = _label_source(root, masks, is_voc)
    images = _images_below(root / image_folder, root / masks) if labels == "folders" else ()
    names, source = _class_names(root, images, classes, labels, is_voc)
    if not 0 < len({*names}) == len(names) < VOID:
        raise InputError(
            f"{source}: expected 1 to {VOID - 1} different names, got {len(names)}: "
            f"{', '.join(names[:300]) or 'none'}; name every class once, and at least one"
        )
    if "background" in (name.lower() for name in names):
        raise InputError(f"{source}: leave out background, which is label 0 by itself; classes count from label 1")
    return DataDescription(
        name=name or root.resolve().name,
        root=root,
        classes=names,
        labels=labels,
        image_folder=image_folder,
        mask_folder=masks,
        val_share=val_share,
        split_seed=split_seed,
    )


def _first_folder(root: Path, *names: str) -> str | None:
    return next((name for name in names if (root / name).is_dir()), None)


def _label_source(root: Path, mask_folder: str, is_voc: bool) -> str:
    if (root / "labels.csv").exists():
        return "table"
    if (root / "Annotations").is_dir():
        return "xml"
    return "masks" if is_voc or (root / mask_folder).is_dir() else "folders"


def _class_names(
    root: Path, images: Sequence[str], classes: Sequence[str] | None, labels: str, is_voc: bool
) -> tuple[tuple[str, ...], str]:
    """The classes, and where they come from."""
    listed = root / "classes.txt"
    if classes is not None:
        return tuple(class_name(name, "data.classes") for name in classes), "data.classes"
    if listed.exists():
        names = tuple(class_name(name, str(listed)) for name in read_lines(listed))
        # Some lists begin with label 0.
        has_background = [name.lower() for name in names[:1]] == ["background"]
        return names[1:] if has_background else names, str(listed)
    if is_voc:
        return VOC_CLASSES, "VOC's classes"
    if labels == "table":
        return read_table(root / "labels.csv").classes, str(root / "labels.csv")
    if labels == "folders":
        if not images:
            raise InputError(f"{root}: no images in it; set data.root to a folder of images")
        found = {name for image_id in images if (name := folder_class(image_id)) is not None}
        if not found:
            raise InputError(
                f"{root}: no labels; write {root / 'labels.csv'} with the columns image,labels, "
                "or put the images of each class into a folder of its name"
            )
        return tuple(sorted(found, key=lambda name: (name.casefold(), name))), str(root)
    raise InputError(f"{listed}: no such list; write one class name a line, or set data.classes")


@lru_cache(maxsize=8)
def _images_below(folder: Path, masks: Path) -> tuple[str, ...]:
    """Ids of all images in a folder and those below it, sorted; masks and what is hidden are none."""
    found = (path for path in folder.rglob("*") if path.suffix in IMAGE_SUFFIXES and masks not in path.parents)
    paths = (path.relative_to(folder) for path in found)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    ids = tuple(sorted({path.with_suffix("").as_posix() for path in visible}))
    odd = next((image_id for image_id in ids if not is_plain(image_id)), None)
    if odd is not None:
        raise InputError(f"{folder / odd}: a file name with control characters; rename the file")
    return ids


def image_ids(description: DataDescription) -> list[str]:
    """All images: those of the table, or those in the folder."""
    if description.labels == "table":
        return list(read_table(description.table_path).names)
    ids = _ids_of_files(description)
    if description.labels == "folders":
        return [image_id for image_id in ids if folder_class(image_id) in description.classes]
    return list(ids)


def folder_class(image_id: str) -> str | None:
    """The class whose folder an image lies in, where folders are the labels."""
    folder, is_in_one, _ = image_id.partition("/")
    return class_name(folder, f"folder {folder}") if is_in_one else None


def unlabelled_images(description: DataDescription) -> list[str]:
    """Images in the folder that the table does not name, or that lie in no class's folder."""
    if description.labels not in ("table", "folders"):
        return []
    known = {*image_ids(description)}
    return [image_id for image_id in _ids_of_files(description) if image_id not in known]


def _ids_of_files(description: DataDescription) -> tuple[str, ...]:
    return _images_below(description.root / description.image_folder, description.root / description.mask_folder)


def read_split(description: DataDescription, split: str) -> list[str]:
    """Image ids of a split: its list's, in their order; else those the table says; else drawn at random.

    Beside a list for val alone, train is what that and a list for test leave.

    Raises:
        InputError: if there is no such split or it is empty, or a list holds an id twice.
    """
    path = _list_path(description, split)
    if path.is_file():
        return _listed(description, path)
    splits = read_table(description.table_path).splits if description.labels == "table" else {}
    if splits:
        ids = [image_id for image_id, of_image in splits.items() if of_image == split.casefold()]
        if not ids:
            found = ", ".join(sorted({*splits.values()} - {""})) or "none"
            raise InputError(f"{description.table_path}: no image of split {split} (there are {found})")
        return ids
    is_known = split in ("train", "val") and description.labels in ("table", "folders")
    if not is_known or _has_list(description, "train"):
        raise InputError(f"{path}: no such list of images; choose another split or write one image id a line")
    if not _has_list(description, "val"):
        return _drawn(description)[split]
    if not (ids := _unlisted(description)):
        raise InputError(f"{path}: no such list of images, and the other lists leave none; shorten them")
    return ids


def _unlisted(description: DataDescription) -> list[str]:
    """Images that no list keeps from training."""
    lists = [split for split in ("val", "test") if _has_list(description, split)]
    kept = {image_id for split in lists for image_id in read_split(description, split)}
    return [image_id for image_id in image_ids(description) if image_id not in kept]


def _has_list(description: DataDescription, split: str) -> bool:
    return _list_path(description, split).is_file()


def other_splits(description: DataDescription, splits: Collection[str]) -> dict[str, int]:
    """Number of images that the table puts in splits other than these."""
    if description.labels != "table" or any(_has_list(description, split) for split in splits):
        return {}
    known = {split.casefold() for split in splits}
    return Counter(of_image for of_image in read_table(description.table_path).splits.values() if of_image not in known)


def _list_path(description: DataDescription, split: str) -> Path:
    folder = description.root / "ImageSets" / "Segmentation"
    is_flat = description.image_folder != "JPEGImages" and not folder.is_dir()
    return (description.root if is_flat else folder) / f"{split}.txt"


def _listed(description: DataDescription, path: Path) -> list[str]:
    lines = read_lines(path)
    ids = [image_id_of(line.lstrip("/"), str(path)) for line in lines]
    # An id may hold spaces, but most such lines belong to another kind of list.
    unlike = next((i for i in ids if len(i.split()) > 1 and not description.image_paths(i)), None)
    if unlike is not None:
        raise InputError(f"{path}: expected one image id a line, found '{unlike}'; take the rest of such lines out")
    if not ids:
        raise InputError(f"{path}: an empty list; write one image id a line")
    if len(set(ids)) < len(ids):
        twice = next(image_id for image_id, times in Counter(ids).items() if times > 1)
        raise InputError(f"{path}: image {twice} is listed twice; remove one line")
    return ids


def _drawn(description: DataDescription) -> dict[str, list[str]]:
    ids = _unlisted(description)
    if len(ids) < 2:
        raise InputError(f"{description.root}: labels for {len(ids)} images; training and validation need one each")
    if description.labels == "table":
        names = read_table(description.table_path).names
        labels = [names[image_id] for image_id in ids]
        found = {name for of_image in labels for name in of_image}
        if len(found) > 2 * VOID:  # dividing by all of them would take for ever
            raise InputError(
                f"{description.table_path}: {len(found)} different names for {description.num_classes} classes; "
                "correct them, or set data.classes"
            )
    else:
        labels = [(folder_class(image_id) or "",) for image_id in ids]
    is_val = stratified_split(labels, val_share=description.val_share, seed=description.split_seed)
    return {
        "train": [image_id for image_id, val in zip(ids, is_val, strict=True) if not val],
        "val": [image_id for image_id, val in zip(ids, is_val, strict=True) if val],
    }
