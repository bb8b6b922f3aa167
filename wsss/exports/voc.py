"""Label maps as the archive that the PASCAL VOC evaluation server takes."""

import gzip
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from wsss.data import VOID, encode_mask
from wsss.errors import InputError
from wsss.exports.maps import LabelMaps
from wsss.writing import whole_file


def write_voc(maps: LabelMaps, folder: Path, *, split_ids: Sequence[str], competition: str = "comp6") -> int:
    """Write `results.tar.gz` with `results/VOC2012/Segmentation/<competition>_test_cls/<id>.png`, palette PNGs.

    Args:
        maps: what is written.
        folder: where.
        split_ids: the list of the split, whose images are expected, no more and no fewer.
        competition: comp6 (trained on any data, ImageNet's among it) or comp5 (on VOC's alone).

    Returns:
        0: nothing is left out.

    Raises:
        InputError: if images are missing or too many, or a label map holds void, which the server does not know.
    """
    apart = {*maps.ids} ^ {*split_ids}
    if apart:
        raise InputError(
            f"voc: the split lists {len(split_ids)} images, these are {len(maps.ids)}, {min(apart)} is in one alone; "
            "the server expects the split's (a run without limit_images)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(folder / "results.tar.gz") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,  # neither name nor time: equal maps, equal bytes
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for image_id, labels in maps:
            num_void = int((labels == VOID).sum())
            if num_void:
                raise InputError(
                    f"voc: {image_id} has {num_void} void pixels, which the server does not take; "
                    "export predictions, or masks made without void (masks=crf)"
                )
            content = encode_mask(labels)
            entry = tarfile.TarInfo(f"results/VOC2012/Segmentation/{competition}_test_cls/{image_id}.png")
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return 0
