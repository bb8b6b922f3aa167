"""A trained segmenter as a function, read from its model file."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wsss.cudnn import FamiliarSizes
from wsss.errors import InputError, first_line
from wsss.labels import palette as palette_of_labels
from wsss.models.architectures import build_segmentation
from wsss.models.files import ModelFile, building, read_model
from wsss.models.folding import fold_batch_norm
from wsss.models.inference import Inference, full_logits, predict_labels
from wsss.models.loading import filled
from wsss.models.segmentation import SegmentationNetwork
from wsss.photographs import as_seen, read_image

WHOLE = Inference()

Photograph = Image.Image | NDArray[np.uint8] | str | Path


class Segmenter:
    """A trained network as a function: photograph in, label map out.

    A photograph is a path, a PIL image, both of any mode and orientation, or an RGB array (H, W, 3) uint8.

    Attributes:
        model: the network.
        classes: names without background; label i + 1 is classes[i].
        palette: colour of each label, background first, (L, 3) uint8.
        protocol: how it was trained, see `wsss.models.files.ModelFile`.
        inference: how it looks at a photograph.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        classes: Sequence[str],
        *,
        palette: Sequence[Sequence[int]] | None = None,
        protocol: Mapping[str, Any] | None = None,
        inference: Inference = WHOLE,
    ) -> None:
        self.model, self.sizes = model.eval(), FamiliarSizes(model)
        self.classes = list(classes)
        colors = palette_of_labels()[: len(self.classes) + 1] if palette is None else palette
        self.palette = np.array(colors, np.uint8)
        self.protocol = dict(protocol or {})
        self.inference = inference

    def __call__(self, image: Photograph) -> NDArray[np.uint8]:
        """Label map (H, W) of a photograph."""
        return self.label_maps([image])[0]

    @torch.inference_mode()
    def label_maps(self, images: Sequence[Photograph]) -> list[NDArray[np.uint8]]:
        """Label maps (H, W) of photographs of one size, which go through the network together."""
        pixels = self._pixels(images)
        with self.sizes.of(pixels):
            return list(predict_labels(self.model, pixels, self.inference).cpu().numpy())

    @torch.inference_mode()
    def probabilities(self, image: Photograph, *, size: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Probability of each label, (L, H, W); at another `size` (H, W) if given."""
        pixels = self._pixels([image])
        with self.sizes.of(pixels):
            logits = full_logits(self.model, pixels, self.inference, size=size)
        return np.asarray(logits.softmax(dim=1)[0].cpu().numpy())

    def with_inference(self, inference: Inference) -> "Segmenter":
        """The same network, looking at photographs in another way."""
        other = copy.copy(self)
        other.inference = inference
        return other

    def _pixels(self, images: Sequence[Photograph]) -> Tensor:
        """(B, 3, H, W)."""
        arrays = np.stack([_rgb(image) for image in images])  # (B, H, W, 3)
        return torch.from_numpy(arrays).permute(0, 3, 1, 2).to(next(self.model.parameters()).device)


def load_segmenter(path: str | Path, *, device: str = "cpu") -> Segmenter:
    """Load `segmenter/model.pt` of a run: `wsss.load_segmenter(path)(image) -> label map`.

    Raises:
        InputError: if the file is missing, broken, not a segmenter, or of a newer version, or torch has no such device.
    """
    file = read_model(path, kinds=("segmenter",))
    with building(path):
        model, inference = _build(file)
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:  # the latter of a torch without CUDA
        raise InputError(f"device={device}: torch cannot use it here ({first_line(error)}); pass 'cpu'") from error
    with building(path):  # numbers may be finite, and yet too large to be multiplied
        model = fold_batch_norm(model, torch.rand(1, 3, 64, 64, device=device))
    return Segmenter(model, file.classes, palette=file.palette, protocol=file.protocol, inference=inference)


def _build(file: ModelFile) -> tuple[SegmentationNetwork, Inference]:
    network = dict(file.network)
    inference = Inference(resize_long=network.pop("resize_long"))
    name = network.pop("name", "deeplab_v3plus")  # the only one, once
    backbone = {**network.pop("backbone"), "weights": "none"}

    def build() -> SegmentationNetwork:
        return build_segmentation(name, len(file.classes) + 1, backbone=backbone, head=network)

    # Networks of smp's Mix transformers, all of them small, cannot be built without memory.
    is_mix = str(backbone["name"]).startswith("mit_")
    return filled(build, file.state_dict, tried=not is_mix), inference


def _rgb(image: Photograph) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    if isinstance(image, (str, Path)):
        image = read_image(Path(image))
    elif isinstance(image, Image.Image):
        image = as_seen(image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        got = f"{array.dtype} {array.shape}"
        raise ValueError(f"expected an RGB array (H, W, 3) uint8, got {got}; PIL images and paths may be of any kind")
    return array
