"""A trained segmenter as a function, read from its model file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wsss.models.architectures import build_segmentation
from wsss.models.files import read_model
from wsss.models.folding import fold_batch_norm
from wsss.models.inference import Inference, full_logits, predict_labels
from wsss.models.segmentation import SegmentationNetwork

WHOLE = Inference()


class Segmenter:
    """A trained network as a function: photograph in, label map out.

    Attributes:
        model: the network.
        classes: names without background; label i + 1 is classes[i].
        inference: how it looks at a photograph.
    """

    def __init__(self, model: SegmentationNetwork, classes: Sequence[str], *, inference: Inference = WHOLE) -> None:
        self.model = model.eval()
        self.classes = list(classes)
        self.inference = inference

    @torch.inference_mode()
    def __call__(self, image: Image.Image | NDArray[np.uint8] | str | Path) -> NDArray[np.uint8]:
        """Label map (H, W) of a photograph: a path, a PIL image, or an RGB array (H, W, 3) uint8."""
        labels = predict_labels(self.model, self._pixels(image), self.inference)
        return np.asarray(labels[0].cpu().numpy())

    @torch.inference_mode()
    def probabilities(self, image: Image.Image | NDArray[np.uint8] | str | Path) -> NDArray[np.float32]:
        """Probability of each label, (L, H, W)."""
        logits = full_logits(self.model, self._pixels(image), self.inference)
        return np.asarray(logits.softmax(dim=1)[0].cpu().numpy())

    def _pixels(self, image: Image.Image | NDArray[np.uint8] | str | Path) -> Tensor:
        """A batch of one, (1, 3, H, W)."""
        if isinstance(image, (str, Path)):
            with Image.open(image) as file:
                image = file.convert("RGB")
        array = np.array(image.convert("RGB") if isinstance(image, Image.Image) else image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {array.dtype} {array.shape}")
        device = next(self.model.parameters()).device
        return torch.from_numpy(array).permute(2, 0, 1)[None].to(device)


def load_segmenter(path: str | Path, *, device: str = "cpu") -> Segmenter:
    """Load `segmenter/model.pt` of a run: `wsss.load_segmenter(path)(image) -> label map`.

    Raises:
        InputError: if the file is missing, broken, or not a segmenter.
    """
    file = read_model(path, kinds=("segmenter",))
    network = dict(file.network)
    inference = Inference(resize_long=network.pop("resize_long"))
    name = network.pop("name", "deeplab_v3plus")  # the only one, once
    backbone = {**network.pop("backbone"), "weights": "none"}
    model = build_segmentation(name, len(file.classes) + 1, backbone=backbone, head=network)
    model.load_state_dict(file.state_dict)
    model = fold_batch_norm(model.to(device), torch.rand(1, 3, 64, 64, device=device))
    return Segmenter(model, file.classes, inference=inference)
