"""Batch norm where a batch holds one value a channel."""

import torch.nn.functional as F
from torch import Tensor, nn


class LoneBatchNorm(nn.BatchNorm2d):
    """Batch norm that takes its running statistics where there is one value a channel, which has no variance.

    That is what pooling leaves of an image that is alone in its batch; plain batch norm refuses to train on it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def allow_lone_images(head: nn.Module) -> None:
    """Replace the batch norms of a head that is not trained yet, so that a batch may be one image."""
    for name, module in list(head.named_modules()):
        if type(module) is nn.BatchNorm2d:
            head.set_submodule(name, LoneBatchNorm(module.num_features, eps=module.eps, momentum=module.momentum))
