"""Mean-field inference in a fully-connected CRF (Krähenbühl & Koltun, NIPS 2011), in torch, on CPUs and GPUs."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.defaults import CRFParams
from wsss.masks.lattice import Lattice, build_lattice, sum_of

# e to this, summed over all labels, is a float32.
_SAFE_EXPONENT = 60.0


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
        smoothness = _smoothness(batch, height, width, params.gaussian_sxy, params.gaussian_compat, images.device)
        appearance = build_lattice(features).normalized(params.bilateral_compat)
        self.lattice = sum_of([smoothness, appearance])

    def marginals(self, unary: Tensor) -> Tensor:
        """Label probabilities from energies.

        Args:
            unary: P labellings of each image with L labels, -log of a probability, (B, P, L, H, W).

        Returns:
            (B, P, L, H, W).
        """
        batch, passes, labels, height, width = unary.shape
        energy = unary.float().permute(0, 3, 4, 1, 2).reshape(-1, passes, labels)  # (B · H · W, P, L)
        # Scores and probabilities are all relative to each pass's last label, which so need not be carried: the filters
        # are linear, so what they make of differences is the difference of what two labels send.
        unary_scores = energy[..., -1:] - energy[..., :-1]  # (B · H · W, P, L - 1)
        if (passes, labels) == (1, 4):  # four columns are filtered faster than three
            unary_scores = F.pad(unary_scores, (0, 1), value=-torch.inf)
        odds, last = _odds(unary_scores.clone())
        for _ in range(self.iterations):
            norm = _row_sums(odds).add_(last)
            differences = odds.sub_(last).div_(norm)
            odds, last = _odds(self.lattice.filter(differences.flatten(1)).view_as(odds).add_(unary_scores))
        q = odds.div_(_row_sums(odds).add_(last))[..., : labels - 1].view(batch, height, width, passes, -1)
        return torch.cat([q, 1 - q.sum(dim=-1, keepdim=True)], dim=-1).permute(0, 3, 4, 1, 2)


def _odds(scores: Tensor) -> tuple[Tensor, Tensor | float]:
    """The softmax of scores (N, P, L - 1) and a last 0 but for its norm: of the former, in place, and of the last."""
    if not scores.is_cuda and scores.amax() < _SAFE_EXPONENT:  # as nearly always; a GPU would have to be waited for
        return scores.exp_(), 1.0
    largest = scores.amax(dim=-1, keepdim=True).clamp_(min=0)
    return scores.sub_(largest).exp_(), largest.neg_().exp_()


def _row_sums(values: Tensor) -> Tensor:
    """Sums over a short last axis, (N, P, L) -> (N, P, 1); a product with ones is several times faster than `sum`."""
    return (values @ values.new_ones(values.shape[-1]))[..., None]


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
