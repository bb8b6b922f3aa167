"""Look at every file once before any long work starts."""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss.data.description import DataDescription, other_splits, unlabelled_images
from wsss.data.files import read_mask
from wsss.data.image_labels import check_label_values, read_labels
from wsss.data.table import look_alike
from wsss.errors import InputError
from wsss.labels import VOID
from wsss.photographs import is_on_its_side, read_image

T = TypeVar("T")


class Finding(NamedTuple):
    """A line about one image (or, without an id, about the data set); errors make it useless, notes do not.

    An error `of_truth` makes an image useless for scores alone.
    """

    text: str
    is_error: bool
    image_id: str | None = None
    of_truth: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """What a look at one image found; what could not be read is None.

    Attributes:
        size: width and height as a person sees it.
        digest: equal for equal files.
        labels: zero-based ids of the present classes.
        findings: what is wrong or odd.
    """

    size: tuple[int, int] | None
    digest: str | None
    labels: tuple[int, ...] | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Survey:
    """A whole data set looked at.

    Attributes:
        splits: ids of each split.
        images: what was found of each image.
        findings: all of them, errors first.
    """

    splits: Mapping[str, Sequence[str]]
    images: Mapping[str, ImageFacts]
    findings: Sequence[Finding]

    @property
    def errors(self) -> list[Finding]:
        """What makes images, or the whole, useless."""
        return [finding for finding in self.findings if finding.is_error]

    @property
    def notes(self) -> list[Finding]:
        """What is worth knowing."""
        return [finding for finding in self.findings if not finding.is_error]


def survey(
    description: DataDescription,
    splits: Mapping[str, Sequence[str]],
    *,
    truth: Collection[str] = (),
    threads: int = 4,
    progress: Callable[[int], object] = lambda done: None,
) -> Survey:
    """Decode the images, read their labels, compare masks with them, and the files with one another.

    Args:
        description: the data set.
        splits: ids of each split, training first.
        truth: images that must have a ground-truth mask.
        threads: images are decoded in so many threads.
        progress: called with the number of images done, from any thread.
    """
    ids = list(dict.fromkeys(image_id for of_split in splits.values() for image_id in of_split))
    truth = frozenset(truth)

    def look(image_id: str) -> ImageFacts:
        facts = look_at(description, image_id, truth=image_id in truth)
        progress(1)
        return facts

    with ThreadPoolExecutor(threads) as pool:
        images = dict(zip(ids, pool.map(look, ids), strict=True))
    of_images = [finding for facts in images.values() for finding in facts.findings]
    findings = [*of_images, *_duplicates(description, splits, images), *_whole(description, splits, images)]
    return Survey(splits, images, sorted(findings, key=lambda finding: not finding.is_error))


def look_at(description: DataDescription, image_id: str, *, truth: bool) -> ImageFacts:
    """Everything about one image."""
    findings: list[Finding] = []

    def attempt(work: Callable[[], T], *, of_truth: bool = False) -> T | None:
        try:
            return work()
        except InputError as error:
            findings.append(Finding(str(error), True, image_id, of_truth))
            return None

    path, size = attempt(lambda: _only_path(description, image_id)), None
    if path is not None and (size := attempt(lambda: read_image(path).size)) and attempt(lambda: is_on_its_side(path)):
        findings.append(
            Finding(f"{path}: stored lying on its side, read upright as its EXIF data says", False, image_id)
        )
    labels = attempt(lambda: tuple(read_labels(description, image_id)))
    if truth and size is not None:
        attempt(lambda: check_mask(description, description.mask_path(image_id), size), of_truth=True)
    digest = None if size is None or path is None else hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return ImageFacts(size, digest, labels, tuple(findings))


def _only_path(description: DataDescription, image_id: str) -> Path:
    paths = description.image_paths(image_id)
    if len(paths) > 1:
        raise InputError(f"{paths[0]}: {paths[1].name} goes by the same id; rename one of them")
    if not paths:
        source = f"{description.table_path} and the lists" if description.labels == "table" else "the list"
        missing = description.root / description.image_folder / image_id
        raise InputError(f"{missing}: no such image, as .jpg, .png or another; add the file or take it out of {source}")
    return paths[0]


def check_masks(description: DataDescription, ids: Iterable[str], folder: Path, *, threads: int = 4) -> None:
    """Compare the label maps `<folder>/<id>.png` with their images.

    Raises:
        InputError: for the first that is missing, unreadable, of another size, or has a label value out of range.
    """

    def check(image_id: str) -> None:
        check_mask(description, folder / f"{image_id}.png", read_image(description.image_path(image_id)).size)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(check, ids):
            pass


def count_labels(
    description: DataDescription, ids: Sequence[str], folder: Path, *, threads: int = 4
) -> NDArray[np.int64]:
    """Pixels of each label in the masks `<folder>/<id>.png`, (L + 1,), void last.

    Raises:
        InputError: if a mask cannot be read or has a value that is no label.
    """

    def count(image_id: str) -> NDArray[np.int64]:
        path = folder / f"{image_id}.png"
        pixels = np.bincount(read_mask(path).ravel(), minlength=VOID + 1)
        check_label_values(path, np.flatnonzero(pixels).astype(np.uint8), description)
        return np.append(pixels[: description.num_classes + 1], pixels[VOID])

    with ThreadPoolExecutor(threads) as pool:
        return np.sum(list(pool.map(count, ids)), axis=0)


def check_mask(description: DataDescription, path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a label map, refusing one whose size is not the image's (width, height) or whose values are no labels."""
    mask = read_mask(path)
    if mask.shape[::-1] != size:
        raise InputError(
            f"{path}: the mask is {mask.shape[1]} × {mask.shape[0]} pixels, its image {size[0]} × {size[1]}; "
            "export it again at the image's size"
        )
    check_label_values(path, np.unique(mask), description)
    return mask


def _duplicates(
    description: DataDescription, splits: Mapping[str, Sequence[str]], images: Mapping[str, ImageFacts]
) -> list[Finding]:
    """Files that are equal; published data sets have some, so they stop nobody."""
    split_of = {image_id: split for split, ids in reversed(list(splits.items())) for image_id in ids}
    first_of: dict[str, str] = {}
    findings = []
    for image_id, facts in images.items():
        if facts.digest is None:
            continue
        first = first_of.setdefault(facts.digest, image_id)
        if first == image_id:
            continue
        text = f"{description.image_path(image_id)}: the same file as {description.image_path(first)}"
        if facts.labels != images[first].labels:
            text += ", with other labels; correct one or take one out"
        elif split_of[image_id] != split_of[first]:
            text += f", which is in {split_of[first]}, this in {split_of[image_id]}: scores flatter; take one out"
        else:
            text += "; take one out"
        findings.append(Finding(text, False, image_id))
    return findings


def _whole(
    description: DataDescription, splits: Mapping[str, Sequence[str]], images: Mapping[str, ImageFacts]
) -> list[Finding]:
    root, table = description.root, description.table_path
    train, *others = splits
    shown = {
        split: Counter(description.classes[label] for i in ids for label in images[i].labels or ())
        for split, ids in splits.items()
    }
    text = f"{root}: no image of {train} has a label; look at data.labels and data.classes"
    faults = [] if shown[train] else [text]
    notes = _alike(description, images)
    never = [name for name in description.classes if name not in shown[train]]
    if never and not faults:
        notes.append(f"{root}: no image of {train} shows {_some(never)}, which cannot be learnt")
    for other in others:
        unseen = [name for name in shown[train] if name not in shown[other]]
        if unseen:
            notes.append(
                f"{root}: no image of {other} shows {_some(unseen)}, so that nothing tells how well it is learnt"
            )
        both = sorted({*splits[train]} & {*splits[other]})
        if both:
            notes.append(f"{root}: in {train} and in {other}: {_some(both)}; scores flatter")
    unused = other_splits(description, list(splits))
    if unused:
        names = ", ".join(f"{split or 'no split'} {number}" for split, number in sorted(unused.items()))
        notes.append(f"{table}: images in neither of {', '.join(splits)}: {names}")
    unlabelled = unlabelled_images(description)
    if unlabelled:
        place, lack = (table, "without a line") if description.labels == "table" else (root, "in no class's folder")
        notes.append(f"{place}: {lack}, and so not used: {_some(unlabelled)}")
    return [*(Finding(text, True) for text in faults), *(Finding(text, False) for text in notes)]


def _alike(description: DataDescription, images: Mapping[str, ImageFacts]) -> list[str]:
    """Rare classes whose names may be slips for others, where nobody has listed the classes."""
    if description.labels not in ("table", "folders") or (description.root / "classes.txt").exists():
        return []
    shown: dict[str, list[str]] = {}
    for image_id, facts in images.items():
        for label in facts.labels or ():
            shown.setdefault(description.classes[label], []).append(image_id)
    times = {name: len(ids) for name, ids in shown.items()}
    return [
        f"{description.root}: class {rare!r} ({_some(shown[rare])}) is much like {other!r} ({times[other]} times); "
        "is it a slip? If so, join them"
        for rare, other in permutations(shown, 2)
        if times[rare] < times[other] and times[rare] <= max(2, times[other] / 5) and look_alike(rare, other)
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
