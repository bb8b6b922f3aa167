"""DeepLab v3+ on any backbone, and the file format of a trained segmenter."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from wsss.models.backbones import Backbone
from wsss.models.files import backbone_of, read_model
from wsss.models.folding import fold_batch_norm


def _conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class DeepLabV3Plus(nn.Module):
    """Atrous spatial pyramid on the last stage, refined with a shallow one (Chen et al., ECCV 2018).

    Args:
        backbone: any backbone.
        num_labels: classes with background, L.
        channels: width of the pyramid and decoder (256 in the paper).
        atrous_rates: dilations of the pyramid, in cells of the last stage; 6, 12, 18 suit stride 16.
        skip_stage: the shallow stage (stride 4 in the paper).
        skip_channels: width it is reduced to (48 in the paper).
    """

    def __init__(
        self,
        backbone: Backbone,
        num_labels: int,
        *,
        channels: int = 256,
        atrous_rates: Sequence[int] = (6, 12, 18),
        skip_stage: str = "stage2",
        skip_channels: int = 48,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.skip_stage = skip_stage
        self.aspp = ASPP(backbone.channels[backbone.last_stage], list(atrous_rates), channels)
        self.skip = _conv_bn_relu(backbone.channels[skip_stage], skip_channels, 1)
        self.decoder = nn.Sequential(
            _conv_bn_relu(channels + skip_channels, channels, 3), nn.Conv2d(channels, num_labels, kernel_size=1)
        )

    @property
    def head_parameters(self) -> list[nn.Parameter]:
        """Everything that is not the backbone; trained with the larger learning rate."""
        return [p for name, p in self.named_parameters() if not name.startswith("backbone.")]

    def forward(self, images: Tensor) -> Tensor:
        """Logits at the images' size, (B, 3, H, W) -> (B, L, H, W)."""
        stages = self.backbone(images)
        skip = self.skip(stages[self.skip_stage])  # (B, c, h, w)
        deep = self.aspp(stages[self.backbone.last_stage])
        deep = F.interpolate(deep, size=skip.shape[2:], mode="bilinear", align_corners=False)
        logits = self.decoder(torch.cat([deep, skip], dim=1))  # (B, L, h, w)
        return F.interpolate(logits.float(), size=images.shape[2:], mode="bilinear", align_corners=False)


class Segmenter:
    """A trained network as a function: photograph in, label map out.

    Attributes:
        model: the network.
        classes: names without background; label i + 1 is classes[i].
        resize_long: longer side, in pixels, at which the network sees an image; None: the image's own.
    """

    def __init__(self, model: DeepLabV3Plus, classes: Sequence[str], *, resize_long: int | None = None) -> None:
        self.model = model.eval()
        self.classes = list(classes)
        self.resize_long = resize_long

    @torch.inference_mode()
    def __call__(self, image: Image.Image | NDArray[np.uint8] | str | Path) -> NDArray[np.uint8]:
        """Label map (H, W) of a photograph: a path, a PIL image, or an RGB array (H, W, 3) uint8."""
        if isinstance(image, (str, Path)):
            with Image.open(image) as file:
                image = file.convert("RGB")
        array = np.array(image.convert("RGB") if isinstance(image, Image.Image) else image)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"expected an RGB image (H, W, 3) uint8, got {array.dtype} {array.shape}")
        device = next(self.model.parameters()).device
        pixels = torch.from_numpy(array).permute(2, 0, 1)[None].to(device)  # (1, 3, H, W)
        logits = whole_image_logits(self.model, pixels, resize_long=self.resize_long)
        return np.asarray(logits.argmax(dim=1)[0].byte().cpu().numpy())


def whole_image_logits(model: DeepLabV3Plus, images: Tensor, *, resize_long: int | None = None) -> Tensor:
    """Logits (B, L, H, W) of images (B, 3, H, W) that the network sees with their longer side at `resize_long`."""
    if resize_long is None:
        return model(images)
    height, width = images.shape[2:]
    factor = resize_long / max(height, width)
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    resized = F.interpolate(images.float() / 255, size=size, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(model(resized), size=(height, width), mode="bilinear", align_corners=False)


def load_segmenter(path: str | Path, *, device: str = "cpu") -> Segmenter:
    """Load `segmenter/model.pt` of a run: `wsss.load_segmenter(path)(image) -> label map`.

    Raises:
        InputError: if the file is missing, broken, or not a segmenter.
    """
    file = read_model(path, kinds=("segmenter",))
    head = {key: value for key, value in file.network.items() if key not in ("backbone", "resize_long")}
    model = DeepLabV3Plus(backbone_of(file), len(file.classes) + 1, **head)
    model.load_state_dict(file.state_dict)
    model = fold_batch_norm(model.to(device), torch.rand(1, 3, 64, 64, device=device))
    return Segmenter(model, file.classes, resize_long=file.network["resize_long"])
