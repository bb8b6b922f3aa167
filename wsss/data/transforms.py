"""Joint image and mask transforms, built from torchvision's v2. Pictures stay uint8: models normalise."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from wsss.labels import VOID

# What lies outside an image: ImageNet's mean colour (zero after normalisation), and void.
FILL: dict[Any, Any] = {tv_tensors.Image: (124, 116, 104), tv_tensors.Mask: VOID, "others": 0}


class ResizeLong(v2.Transform):
    """Bring the longer side to a length drawn uniformly from `length` (pixels), keeping the aspect ratio."""

    def __init__(self, length: tuple[int, int]) -> None:
        super().__init__()
        self.length = length

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size for image and mask together."""
        height, width = TF.get_size(flat_inputs[0])
        target = int(torch.randint(self.length[0], self.length[1] + 1, ()))
        factor = target / max(height, width)
        return {"size": [max(round(height * factor), 1), max(round(width * factor), 1)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Bilinear for images, nearest for masks."""
        if isinstance(inpt, tv_tensors.Mask):
            return resize_mask(inpt, params["size"])
        return self._call_kernel(TF.resize, inpt, params["size"], antialias=True)


def resize_mask(mask: tv_tensors.Mask, size: Sequence[int]) -> tv_tensors.Mask:
    """Planes of labels (N, H, W) at another height and width, each that of the nearest pixel."""
    # torchvision's default for masks takes the corner of a cell, which moves labels by up to half a pixel.
    resized = TF.resize_image(mask, list(size), interpolation=v2.InterpolationMode.NEAREST_EXACT)
    return tv_tensors.wrap(resized, like=mask)


class ResizeBy(ResizeLong):
    """Scale by a factor drawn uniformly from `factor`."""

    def __init__(self, factor: tuple[float, float]) -> None:
        v2.Transform.__init__(self)
        self.factor = factor

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size for image and mask together."""
        height, width = TF.get_size(flat_inputs[0])
        factor = float(torch.empty(()).uniform_(*self.factor))
        return {"size": [max(round(height * factor), 1), max(round(width * factor), 1)]}


class PadTo(v2.Transform):
    """Pad around to a square of at least `side` pixels, with mean colour and void."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Share what is missing between the two ends."""
        rows, columns = (max(self.side - length, 0) for length in TF.get_size(flat_inputs[0]))
        return {"padding": [columns // 2, rows // 2, columns - columns // 2, rows - rows // 2]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad image and mask alike."""
        return self._call_kernel(TF.pad, inpt, padding=params["padding"], fill=FILL.get(type(inpt), 0))


def train_transform(
    *,
    crop: int,
    resize_long: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    flip: bool = True,
    color_jitter: float = 0.0,
) -> v2.Transform:
    """Random size, random crop (padded with mean colour and void), flip and colour change.

    Args:
        crop: side of the square crop, pixels.
        resize_long: range of the longer side in pixels before the crop, or
        scale: range of the resize factor; neither: the image's own size.
        flip: mirror half of the images.
        color_jitter: strength of brightness, contrast and saturation change; hue moves by a quarter of it.
    """
    steps: list[v2.Transform] = []
    if resize_long is not None:
        steps.append(ResizeLong((resize_long[0], resize_long[1])))
    elif scale is not None:
        steps.append(ResizeBy((scale[0], scale[1])))
    steps.append(v2.RandomCrop(crop, pad_if_needed=True, fill=FILL))
    if flip:
        steps.append(v2.RandomHorizontalFlip())
    if color_jitter:
        steps.append(v2.ColorJitter(color_jitter, color_jitter, color_jitter, color_jitter / 4))
    return v2.Compose(steps)


def center_transform(crop: int) -> v2.Transform:
    """Longer side to `crop`, padded around to a square with mean colour and void: one size for validation batches."""
    return v2.Compose([ResizeLong((crop, crop)), PadTo(crop)])


def eval_transform(resize_long: int | None = None) -> v2.Transform:
    """The whole image at its own size, or with the longer side at `resize_long` pixels."""
    return v2.Identity() if resize_long is None else ResizeLong((resize_long, resize_long))
