"""Pixel-wise losses for masks that are partly wrong."""

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.labels import VOID


def mask_loss(
    logits: Tensor,
    masks: Tensor,
    *,
    label_weights: Tensor | None = None,
    confidence: Tensor | None = None,
    bootstrap: float = 0.0,
    hardest: float = 1.0,
) -> Tensor:
    """Cross-entropy over the pixels that are not void: sum(w · l) / sum(w), 0 where all are void.

    Args:
        logits: (B, L, H, W).
        masks: labels 0 … L-1, or void, (B, H, W).
        label_weights: weight of a pixel by its label, (L,); see `balanced_weights`.
        confidence: weight of a pixel, (B, H, W), ≥ 0.
        bootstrap: share β of the target that is the network's own prediction p instead of the mask,
            l = -((1 - β) y + β p) · log p, p held constant (soft bootstrapping, Reed et al., ICLR 2015 workshop).
        hardest: share of the known pixels that count, those of the largest loss (online hard example mining,
            Shrivastava et al., CVPR 2016).
    """
    losses = F.cross_entropy(logits, masks, ignore_index=VOID, reduction="none")  # (B, H, W), 0 where void
    known = masks != VOID
    weights = known.to(losses.dtype)
    if bootstrap:
        log_probs = logits.log_softmax(dim=1)
        own = -(log_probs.detach().exp() * log_probs).sum(dim=1)  # (B, H, W)
        losses = (1 - bootstrap) * losses + bootstrap * own
    if hardest < 1:
        kept = max(int(hardest * int(known.sum())), 1)
        bound = torch.where(known, losses.detach(), -torch.inf).flatten().topk(kept).values[-1]
        weights = weights * (losses.detach() >= bound)
    if label_weights is not None:
        weights = weights * label_weights[masks.where(known, 0)]
    if confidence is not None:
        weights = weights * confidence
    return (weights * losses).sum() / weights.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def balanced_weights(counts: Tensor, power: float) -> Tensor:
    """Weight of each label from its pixels, (L,): frequency to the power of -`power`, 1 on average over the pixels.

    A label without pixels has weight 0: it occurs nowhere.

    Args:
        counts: pixels of each label, (L,).
        power: 0 weighs all pixels alike, 1 all labels alike.
    """
    present = counts > 0
    share = counts.double() / counts.sum().clamp(min=1)
    weights = torch.where(present, share.clamp(min=torch.finfo(share.dtype).tiny) ** -power, 0.0)
    return (weights / (share * weights).sum().clamp(min=torch.finfo(share.dtype).tiny)).float()
