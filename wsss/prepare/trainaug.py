"""The ten thousand masks of trainaug: VOC's own, and those of SBD (Hariharan et al., ICCV 2011) where VOC has none."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from wsss.data import DataDescription, image_size, read_split, save_mask
from wsss.data.image_labels import check_label_values
from wsss.errors import InputError
from wsss.prepare.archives import Entry, open_archive
from wsss.prepare.disk import copy_file
from wsss.prepare.tables import check_count, check_files, write_list
from wsss.progress import follow

FOLDER = "SegmentationClassAug"
# A mask in SBD's archive, or in the converted one that people pass around.
MASK = re.compile(rf"(?:.*/)?(?:cls/([^/.]+)\.mat|{FOLDER}/([^/.]+)\.png)")


def merge_trainaug(data: DataDescription, archive: Path, counts: Mapping[str, int]) -> int:
    """Write SegmentationClassAug and the list trainaug: VOC's train images and those of SBD that are not in VOC's val.

    VOC's masks of train take precedence over SBD's. Those of val lie there too, so that the folder serves both splits.
    SBD has 11,355 masks (train 8,498, val 2,857); 676 of VOC's 2,913 have none there, and 11,355 + 676 - 1,449 of
    VOC's val = 10,582.

    Args:
        data: VOC, with its lists train and val.
        archive: SBD's benchmark.tgz, or SegmentationClassAug.zip.
        counts: size of trainaug as published, under that key; any size if there is none.

    Returns:
        Number of files written.

    Raises:
        InputError: if the size differs (nothing is written then), or a mask is unreadable or does not fit its image.
    """
    train, val = set(read_split(data, "train")), set(read_split(data, "val"))
    own, folder = train | val, data.root / FOLDER
    with open_archive(archive) as entries:
        masks = {match[1] or match[2]: entry for entry in entries if (match := MASK.fullmatch(entry.name))}
        if not masks:
            raise InputError(f"{archive}: holds no masks of SBD; put its benchmark.tgz, or {FOLDER}.zip, there")
        trainaug = sorted(train | (masks.keys() - val))
        origin = f"train {len(train):,}, {archive.name} {len(masks):,}, of which {len(masks.keys() & val):,} are in val"
        check_count("trainaug", trainaug, counts, origin=origin)
        check_files(data, "trainaug", trainaug, truth=False)
        missing = [i for i in masks if i not in own and not (folder / f"{i}.png").exists()]  # in the archive's order
        folder.mkdir(exist_ok=True)
        for image_id in follow(missing, "masks of SBD"):
            save_mask(folder / f"{image_id}.png", _read_mask(data, image_id, archive, masks[image_id]))
    for image_id in own:
        copy_file(data.mask_path(image_id), folder / f"{image_id}.png")
    write_list(data, "trainaug", trainaug)  # last, as a sign that the masks are there
    return len(missing) + len(own) + 1


def _read_mask(data: DataDescription, image_id: str, archive: Path, entry: Entry) -> NDArray[np.uint8]:
    source = archive / entry.name
    decode = _decode_mat if entry.name.endswith(".mat") else _decode_png
    with entry.open() as file:
        content = io.BytesIO(file.read())
    try:
        mask = decode(content)
    except Exception as error:  # damaged files make the decoders raise many kinds
        raise InputError(f"{source}: not a readable mask ({error}); fetch the archive again") from error
    size = image_size(data.image_path(image_id))
    if mask.dtype != np.uint8 or mask.shape != size[::-1]:
        found = f"{mask.dtype} {' × '.join(map(str, mask.shape[::-1]))}"
        raise InputError(f"{source}: expected uint8 {size[0]} × {size[1]}, found {found}; fetch the archive again")
    check_label_values(source, np.unique(mask), data)
    return mask


def _decode_mat(file: io.BytesIO) -> NDArray[np.uint8]:
    return np.asarray(loadmat(file, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0])


def _decode_png(file: io.BytesIO) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        if image.mode not in ("P", "L"):
            raise ValueError(f"a colour picture, {image.mode}")
        return np.array(image)
