"""ReCAM: a softmax head on class-specific features (Chen et al., Class Re-Activation Maps, CVPR 2022)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.models.backbones import Backbone
from wsss.models.classifier import Classifier

CAM_EPS = 1e-5  # the published code's, in the maps' normalisation
MapWeight = Literal["w1_relu_w2", "w1w2", "fc1", "fc2"]


@dataclass(frozen=True)
class ReCAMVariant:
    """What the ReCAM loss is made of, as the article's ablations vary it; the defaults are the published code's.

    Attributes:
        bce_weight: weight of FC1's BCE; at 0 FC2's loss trains alone.
        fc2_loss: what FC2 learns a class-specific feature by: `sce`, the softmax cross-entropy of its class; `bce`,
            every class by itself against the one-hot label; `both`, their sum.
        softmax: over `all` N classes, or over those `present` in the image, which leaves an image of one class with an
            SCE of 0 and no gradient from it.
        pooling: see `reweight`.
        detach_max: whether the maximum in the maps' normalisation is a constant to the gradient. No matter to the
            pooling `mass`, which has no maximum.
    """

    bce_weight: float = 1.0
    fc2_loss: Literal["sce", "bce", "both"] = "sce"
    softmax: Literal["all", "present"] = "all"
    pooling: Literal["pixels", "mass"] = "pixels"
    detach_max: bool = False


PUBLISHED = ReCAMVariant()


class ClassFeatures(NamedTuple):
    """Class-specific features (ΣK_b, C) of a batch's present classes, and the image and class of each row."""

    features: Tensor
    image_index: Tensor
    class_index: Tensor


def reweight(
    features: Tensor, fc1_weight: Tensor, labels: Tensor, *, variant: ReCAMVariant = PUBLISHED
) -> ClassFeatures:
    """Pool the features once per present class, weighted by that class's CAM M_k = ReLU(W1_k · f).

    - `pixels`: F_kc = 1/(hw) Σ_p m_k(p) f_c(p) with m_k = M_k / (max_p M_k + 1e-5) (ReCAM, section 3.2), so a large
      object has a large feature;
    - `mass`: F_kc = Σ_p M_k(p) f_c(p) / (Σ_p M_k(p) + 1e-5), a mean whatever the object's size.

    The weighted maps M_k ⊗ f, a tensor (B, K, C, h, w), are never formed: their pooling is the matrix product of the
    maps (B, K, hw) with the features (B, hw, C). As published, nothing is detached: the gradient passes through the
    maximum in the denominator, unless the variant says otherwise, and reaches W1.

    Args:
        features: last feature maps f, (B, C, h, w), any float type; computed in float32.
        fc1_weight: W1, (N, C).
        labels: multi-hot, (B, N), no background column.
        variant: its `pooling` and `detach_max`.

    Returns:
        Rows ordered by image, then class. A class whose map is zero everywhere has a zero feature.

    Raises:
        ValueError: if shapes disagree.
    """
    _check_labels(features, fc1_weight, labels)
    with torch.autocast(features.device.type, enabled=False):
        cells = features.float().flatten(2)  # (B, C, hw)
        return _pool_present(cells, _class_scores(cells, fc1_weight), labels, variant)


def _check_labels(features: Tensor, fc1_weight: Tensor, labels: Tensor) -> None:
    expected = (len(features), len(fc1_weight))
    if labels.shape != expected:
        got = tuple(labels.shape)
        raise ValueError(f"expected labels {expected}, got {got}: one row an image, no background column")


def _class_scores(cells: Tensor, fc1_weight: Tensor) -> Tensor:
    # An explicit batched product: `@` would copy the features to fold the batch into the rows.
    return torch.bmm(fc1_weight.float().expand(len(cells), -1, -1), cells)  # (B, N, hw)


def _pool_present(cells: Tensor, scores: Tensor, labels: Tensor, variant: ReCAMVariant) -> ClassFeatures:
    present = labels > 0
    image_index, class_index = present.nonzero(as_tuple=True)
    slot = (present.cumsum(dim=1) - 1)[image_index, class_index]  # place of the class among its image's
    K = int(slot.max()) + 1 if len(slot) else 0
    weights = _cell_weights(scores[image_index, class_index].relu(), variant)  # (ΣK_b, hw)
    packed = weights.new_zeros(len(cells), K, cells.shape[2]).index_put((image_index, slot), weights)
    pooled = torch.bmm(cells, packed.transpose(1, 2))  # (B, C, K): this way round both gradients of f share a layout
    return ClassFeatures(pooled[image_index, :, slot], image_index, class_index)


def _cell_weights(maps: Tensor, variant: ReCAMVariant) -> Tensor:
    """Weight of each cell in its class's feature, from maps M (ΣK_b, hw)."""
    if variant.pooling == "mass":
        return maps / (maps.sum(dim=1, keepdim=True) + CAM_EPS)
    # `max` sends its gradient to one arg-max cell, as the reference does; `amax` would share it among ties.
    peaks = maps.max(dim=1, keepdim=True).values
    if variant.detach_max:
        peaks = peaks.detach()
    return maps / (peaks + CAM_EPS) / maps.shape[1]


def recam_loss(
    features: Tensor,
    fc1_weight: Tensor,
    fc2_weight: Tensor,
    labels: Tensor,
    *,
    weight: float = 1.0,
    variant: ReCAMVariant = PUBLISHED,
) -> dict[str, Tensor]:
    """BCE of the pooled features plus λ times FC2's loss of the class-specific ones, the softmax cross-entropy (SCE).

    SCE = 1/B Σ_b mean_k CE(W2 F_bk, k): each image counts the same whatever its number of classes; an image without a
    class adds nothing to the sum but still counts in B. The softmax runs over all N classes. Other losses of FC2 are
    averaged alike.

    Args:
        features: (B, C, h, w).
        fc1_weight: W1, (N, C).
        fc2_weight: W2, (N, C).
        labels: multi-hot, (B, N).
        weight: λ; at 0 FC2's loss is still reported but adds no gradient. So is the BCE at `variant.bce_weight` 0.
        variant: what the loss is made of.

    Returns:
        Scalars `bce`, `sce` and/or `fc2_bce` (what FC2 learns by), `loss`, and `sce_accuracy` (share of present classes
        that FC2 ranks first among all N, NaN if there are none).

    Raises:
        ValueError: if shapes disagree, or both weights are 0.
    """
    _check_labels(features, fc1_weight, labels)
    with torch.autocast(features.device.type, enabled=False):
        cells = features.float().flatten(2)  # (B, C, hw)
        scores = _class_scores(cells, fc1_weight)  # (B, N, hw); their mean is what the pooled features give
        bce = F.multilabel_soft_margin_loss(scores.mean(dim=2), labels.float())
        rows = _pool_present(cells, scores, labels, variant)
        class_logits = rows.features @ fc2_weight.float().T  # (ΣK, N)
        num_present = (labels > 0).sum(dim=1)  # (B,)
        fc2_losses = {
            name: (of_rows / num_present[rows.image_index]).sum() / len(labels)
            for name, of_rows in _fc2_losses(class_logits, rows, labels, variant).items()
        }
        loss = _weighted_sum([(variant.bce_weight, bce), *((weight, value) for value in fc2_losses.values())])
        accuracy = (class_logits.argmax(dim=1) == rows.class_index).float().mean()
    return {"bce": bce, **fc2_losses, "loss": loss, "sce_accuracy": accuracy.detach()}


def _fc2_losses(class_logits: Tensor, rows: ClassFeatures, labels: Tensor, variant: ReCAMVariant) -> dict[str, Tensor]:
    """What FC2 learns by, of each class-specific feature, (ΣK,)."""
    losses = {}
    if variant.fc2_loss in ("sce", "both"):
        rivals = class_logits
        if variant.softmax == "present":
            rivals = rivals.masked_fill(labels[rows.image_index] <= 0, -torch.inf)  # (ΣK, N)
        losses["sce"] = F.cross_entropy(rivals, rows.class_index, reduction="none")
    if variant.fc2_loss in ("bce", "both"):
        one_hot = F.one_hot(rows.class_index, class_logits.shape[1]).float()  # (ΣK, N)
        losses["fc2_bce"] = F.multilabel_soft_margin_loss(class_logits, one_hot, reduction="none")
    return losses


def _weighted_sum(terms: list[tuple[float, Tensor]]) -> Tensor:
    """Σ weight · term. A term of weight 0 is left out, for its gradient is to be none rather than 0."""
    kept = [weight * term for weight, term in terms if weight]
    if not kept:
        raise ValueError("expected bce_weight or λ above 0, got 0 and 0: nothing is left to learn")
    return torch.stack(kept).sum()


def map_weight(fc1_weight: Tensor, fc2_weight: Tensor, kind: MapWeight) -> Tensor:
    """Classifier weight (N, C) from which a ReCAM network's maps are drawn.

    `w1w2` is the published W1 ∘ W2. Where both factors are negative their product is a positive vote from a channel
    that speaks against the class in both heads; `w1_relu_w2` (ours), W1 ∘ ReLU(W2), leaves those out. `fc1` and `fc2`
    are the heads alone.
    """
    if kind == "w1w2":
        return fc1_weight * fc2_weight
    if kind == "w1_relu_w2":
        return fc1_weight * fc2_weight.relu()
    return {"fc1": fc1_weight, "fc2": fc2_weight}[kind]


class ReCAMClassifier(Classifier):
    """A trained classifier with the second, softmax head FC2."""

    def __init__(self, backbone: Backbone, num_classes: int, *, fc2_init: Literal["zero", "default"] = "zero") -> None:
        super().__init__(backbone, num_classes)
        self.fc2 = nn.Conv2d(self.fc1.in_channels, num_classes, kernel_size=1, bias=False)
        if fc2_init == "zero":  # uniform softmax at the start: the first gradients do not depend on a random head
            nn.init.zeros_(self.fc2.weight)

    @property
    def fc2_weight(self) -> Tensor:
        """W2, (N, C)."""
        return self.fc2.weight.flatten(1)
