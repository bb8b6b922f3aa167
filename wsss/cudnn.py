"""Networks over whole photographs on NVIDIA's GPUs, where a size that is new can cost more than the work itself."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class FamiliarSizes:
    """Leaves cuDNN to inputs of sizes that have come often, where a network has depthwise convolutions.

    cuDNN prepares each of those anew for each size: for CAM of EfficientNet-lite0 from four scales, on an H200, 1 to
    4 s before a batch of 0.03 s, which torch's own convolutions do in 0.06 s at once. Many photographs of VOC have a
    size of their own. A network like ResNet-50 is prepared in 0.1 s, and always uses cuDNN.

    Args:
        network: what is run.
        often: inputs of a size, batch included, after which preparing for it pays.
    """

    def __init__(self, network: nn.Module, often: int = 32) -> None:
        is_depthwise = any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())
        self.often = often if is_depthwise else 0
        self.seen = Counter[torch.Size]()

    @contextmanager
    def of(self, images: Tensor) -> Iterator[None]:
        """Run the network on `images` (B, 3, H, W) within the block; on CPUs nothing changes."""
        is_new = images.is_cuda and self.seen[images.shape] < self.often
        self.seen[images.shape] += 1
        was_enabled = torch.backends.cudnn.enabled
        torch.backends.cudnn.enabled = was_enabled and not is_new
        try:
            yield
        finally:
            torch.backends.cudnn.enabled = was_enabled
