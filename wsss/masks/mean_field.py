"""Mean-field inference in a fully-connected CRF (Krähenbühl & Koltun, NIPS 2011), in torch, on CPUs and GPUs."""

from functools import lru_cache

import torch
from torch import Tensor

from wsss.masks.lattice import Lattice, build_lattice
from wsss.masks.params import CRFParams


class MeanField:
    """The CRF of images of one size; what depends on the images alone is built once, for any number of labellings.

    The kernels are pydensecrf's: a smoothness and an appearance kernel, each normalised symmetrically, Potts
    compatibility. Its arg max is reproduced but for rounding.

    Args:
        images: RGB as a person sees it, (B, H, W, 3) uint8, on the device that is to do the work.
        params: the kernels.
    """

    def __init__(self, images: Tensor, params: CRFParams) -> None:
        self.iterations = params.iterations
        batch, height, width, _ = images.shape
        places = _places(height, width, images.device)  # (H · W, 2)
        colours = images.reshape(batch, -1, 3).float() / params.bilateral_srgb
        features = torch.cat([(places / params.bilateral_sxy).expand(batch, -1, 2), colours], dim=2)  # (B, H · W, 5)
        self.lattices = (
            _smoothness(batch, height, width, params.gaussian_sxy, params.gaussian_compat, images.device),
            build_lattice(features).normalized(params.bilateral_compat),
        )
        # What all labels together send to a pixel does not change, so one label of each labelling need not be carried.
        self.total = self._messages(torch.ones(batch * height * width, 1, device=images.device))

    def marginals(self, unary: Tensor) -> Tensor:
        """Label probabilities from energies.

        Args:
            unary: P labellings of each image with L labels, -log of a probability, (B, P, L, H, W).

        Returns:
            (B, P, L, H, W).
        """
        batch, passes, labels, height, width = unary.shape
        energy = unary.float().permute(0, 3, 4, 1, 2).reshape(-1, passes, labels)  # (B · H · W, P, L)
        # Columns are all labels but each pass's last; their scores are relative to it.
        scores = (energy[..., -1:] - energy[..., :-1]).reshape(len(energy), -1)
        same_pass = torch.block_diag(*[scores.new_ones(labels - 1, labels - 1)] * passes)
        # A column gains its own message and loses the last label's, which is the total less the columns'.
        gains = same_pass + torch.eye(len(same_pass), device=scores.device)
        constant = scores - self.total
        q = _probabilities(scores, same_pass)
        for _ in range(self.iterations):
            q = _probabilities(torch.addmm(constant, self._messages(q), gains), same_pass)
        q = q.view(batch, height, width, passes, labels - 1)
        return torch.cat([q, 1 - q.sum(dim=-1, keepdim=True)], dim=-1).permute(0, 3, 4, 1, 2)

    def _messages(self, values: Tensor) -> Tensor:
        smooth, appearance = self.lattices
        return smooth.filter(values).add_(appearance.filter(values))


def _probabilities(scores: Tensor, same_pass: Tensor) -> Tensor:
    """Softmax over each pass's columns (N, P · (L - 1)) and its last label, whose score is 0."""
    odds = scores.clamp(max=60.0).exp_()
    return odds.div_((odds @ same_pass).add_(1))


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of each pixel, (H · W, 2)."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )  # (H, W) twice
    return torch.stack([x.flatten(), y.flatten()], dim=1).float()


@lru_cache(maxsize=4)
def _smoothness(batch: int, height: int, width: int, sxy: float, compat: float, device: torch.device) -> Lattice:
    """It depends on the images' size alone."""
    return build_lattice((_places(height, width, device) / sxy).expand(batch, -1, 2)).normalized(compat)
