"""Images with labels and masks as tensors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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
    """One item, or a batch of them: images uint8, labels multi-hot float, masks integer or empty.

    The confidence in a mask's pixels, in [0, 1], is there where the data set was told how to get it.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor
    ids: list[str]
    confidence: Tensor | None = None


class Draw(NamedTuple):
    """Which image, and the seed of the random numbers that its transform takes."""

    item: int
    seed: int


class ImageDataset(Dataset[Sample]):
    """Images with their image-level labels and, where asked for, masks.

    Items come by their number, or by a `Draw`, which looks the same whenever and in whichever process it is taken.

    Args:
        description: the data set.
        ids: which images, in order.
        labels: multi-hot (len(ids), N), see `label_table`.
        transform: joint image and mask transform; default: none.
        mask_folder: folder with `<id>.png`, ground truth or pseudo-masks; default: no masks are read.
        cache: read large photographs from copies; masks follow to their size.
        confidence: gives the confidence (H, W), 0 … 255, in a mask (H, W) by its image's id; default: none is told.
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
        confidence: Callable[[str, NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    ) -> None:
        self.description = description
        self.ids = list(ids)
        self.labels = labels
        self.transform = transform
        self.mask_folder = mask_folder
        self.cache = cache
        self.confidence = confidence

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: int | Draw) -> Sample:
        if not isinstance(which, Draw):
            return self._sample(which)
        with _numbers_from(which.seed):
            return self._sample(which.item)

    def _sample(self, index: int) -> Sample:
        image_id = self.ids[index]
        path = self.description.image_path(image_id)
        picture = read_image(path) if self.cache is None else self.cache.read(path, image_id)
        image = tv_tensors.Image(v2.functional.pil_to_tensor(picture))
        mask = tv_tensors.Mask(self._planes(image_id, image.shape[1:]))
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        planes = mask.as_subclass(Tensor)  # (0, 1 or 2, H, W)
        confidence = None if self.confidence is None else planes[1:]
        # (3, H, W), (N,), (1 or 0, H, W)
        return Sample(image.as_subclass(Tensor), self.labels[index], planes[:1], [image_id], confidence)

    def _planes(self, image_id: str, size: Sequence[int]) -> Tensor:
        """Mask and confidence, which every transform treats alike, (0, 1 or 2, H, W)."""
        if self.mask_folder is None:
            return torch.empty(0, *size, dtype=torch.uint8)
        mask = read_mask(self.mask_folder / f"{image_id}.png")
        planes = [mask] if self.confidence is None else [mask, self.confidence(image_id, mask)]
        stacked = torch.from_numpy(np.stack(planes))
        return stacked if stacked.shape[1:] == size else resize_mask(tv_tensors.Mask(stacked), size)


@contextmanager
def _numbers_from(seed: int) -> Iterator[None]:
    """Have torch's random numbers on the CPU come from a seed in the block; what follows is as if it had not been."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)


def collate(samples: Sequence[Sample]) -> Sample:
    """Batch samples of one size; masks become (B, H, W) integers, or (B, 0) where there are none."""
    told = [s.confidence for s in samples if s.confidence is not None]
    masks = torch.stack([s.masks for s in samples])  # (B, 1 or 0, H, W)
    return Sample(
        torch.stack([s.images for s in samples]),
        torch.stack([s.labels for s in samples]),
        masks[:, 0].long() if masks.shape[1] else masks.flatten(1).long(),
        [i for s in samples for i in s.ids],
        torch.cat(told).float() / 255 if told else None,
    )
