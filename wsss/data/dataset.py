"""Images with labels and masks as tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from wsss.data.cache import ImageCache
from wsss.data.description import DataDescription
from wsss.data.files import read_mask
from wsss.data.transforms import resize_mask
from wsss.photographs import read_image


class Sample(NamedTuple):
    """One item, or a batch of them: images uint8, labels multi-hot float, masks integer or empty."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    ids: list[str]


class ImageDataset(Dataset[Sample]):
    """Images with their image-level labels and, where asked for, masks.

    Args:
        description: the data set.
        ids: which images, in order.
        labels: multi-hot (len(ids), N), see `label_table`.
        transform: joint image and mask transform; default: none.
        mask_folder: folder with `<id>.png`, ground truth or pseudo-masks; default: no masks are read.
        cache: read large photographs from copies; masks follow to their size.
    """

    def __init__(
        self,
        description: DataDescription,
        ids: Sequence[str],
        labels: Tensor,
        *,
        transform: v2.Transform | None = None,
        mask_folder: Path | None = None,
        cache: ImageCache | None = None,
    ) -> None:
        self.description = description
        self.ids = list(ids)
        self.labels = labels
        self.transform = transform
        self.mask_folder = mask_folder
        self.cache = cache

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        image_id = self.ids[index]
        path = self.description.image_path(image_id)
        picture = read_image(path) if self.cache is None else self.cache.read(path, image_id)
        image = tv_tensors.Image(v2.functional.pil_to_tensor(picture))
        if self.mask_folder is None:
            mask = tv_tensors.Mask(torch.empty(0, *image.shape[1:], dtype=torch.uint8))
        else:
            mask = tv_tensors.Mask(torch.from_numpy(read_mask(self.mask_folder / f"{image_id}.png"))[None])
            if mask.shape[1:] != image.shape[1:]:
                mask = resize_mask(mask, image.shape[1:])
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
