"""ReCAM: a softmax head on class-specific features (Chen et al., Class Re-Activation Maps, CVPR 2022)."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.models.backbones import Backbone
from wsss.models.classifier import Classifier

CAM_EPS = 1e-5  # the published code's, in the maps' normalisation
MapWeight = Literal["w1_relu_w2", "w1w2", "fc1", "fc2"]


class ClassFeatures(NamedTuple):
    """Class-specific features (ΣK_b, C) of a batch's present classes, and the image and class of each row."""

    features: Tensor
    image_index: Tensor
    class_index: Tensor


def reweight(features: Tensor, fc1_weight: Tensor, labels: Tensor) -> ClassFeatures:
    """Pool the features once per present class, weighted by that class's normalised CAM.

    m_k = ReLU(W1_k · f) / (max_p ReLU(W1_k · f) + 1e-5), F_kc = 1/(hw) Σ_p m_k(p) f_c(p) (ReCAM, section 3.2).

    The weighted maps m_k ⊗ f, a tensor (B, K, C, h, w), are never formed: their pooling is the matrix product of the
    maps (B, K, hw) with the features (B, hw, C). As published, nothing is detached: the gradient passes through the
    maximum in the denominator and reaches W1.

    Args:
        features: last feature maps f, (B, C, h, w), any float type; computed in float32.
        fc1_weight: W1, (N, C).
        labels: multi-hot, (B, N), no background column.

    Returns:
        Rows ordered by image, then class. A class whose map is zero everywhere has a zero feature.

    Raises:
        ValueError: if shapes disagree.
    """
    _check_labels(features, fc1_weight, labels)
    with torch.autocast(features.device.type, enabled=False):
        cells = features.float().flatten(2)  # (B, C, hw)
        return _pool_present(cells, _class_scores(cells, fc1_weight), labels)


def _check_labels(features: Tensor, fc1_weight: Tensor, labels: Tensor) -> None:
    expected = (len(features), len(fc1_weight))
    if labels.shape != expected:
        got = tuple(labels.shape)
        raise ValueError(f"expected labels {expected}, got {got}: one row an image, no background column")


def _class_scores(cells: Tensor, fc1_weight: Tensor) -> Tensor:
    # An explicit batched product: `@` would copy the features to fold the batch into the rows.
    return torch.bmm(fc1_weight.float().expand(len(cells), -1, -1), cells)  # (B, N, hw)


def _pool_present(cells: Tensor, scores: Tensor, labels: Tensor) -> ClassFeatures:
    present = labels > 0
    image_index, class_index = present.nonzero(as_tuple=True)
    slot = (present.cumsum(dim=1) - 1)[image_index, class_index]  # place of the class among its image's
    K = int(slot.max()) + 1 if len(slot) else 0
    maps = scores[image_index, class_index].relu()  # (ΣK_b, hw)
    # `max` sends its gradient to one arg-max cell, as the reference does; `amax` would share it among ties.
    maps = maps / (maps.max(dim=1, keepdim=True).values + CAM_EPS)
    packed = maps.new_zeros(len(cells), K, cells.shape[2]).index_put((image_index, slot), maps / cells.shape[2])
    pooled = torch.bmm(cells, packed.transpose(1, 2))  # (B, C, K): this way round both gradients of f share a layout
    return ClassFeatures(pooled[image_index, :, slot], image_index, class_index)


def recam_loss(
    features: Tensor, fc1_weight: Tensor, fc2_weight: Tensor, labels: Tensor, *, weight: float = 1.0
) -> dict[str, Tensor]:
    """BCE of the pooled features plus λ times the softmax cross-entropy (SCE) of the class-specific ones.

    SCE = 1/B Σ_b mean_k CE(W2 F_bk, k): each image counts the same whatever its number of classes; an image without a
    class adds nothing to the sum but still counts in B. The softmax runs over all N classes.

    Args:
        features: (B, C, h, w).
        fc1_weight: W1, (N, C).
        fc2_weight: W2, (N, C).
        labels: multi-hot, (B, N).
        weight: λ; at 0 the SCE is still reported but adds no gradient.

    Returns:
        Scalars `bce`, `sce`, `loss`, and `sce_accuracy` (share of present classes ranked first, NaN if there are none).

    Raises:
        ValueError: if shapes disagree.
    """
    _check_labels(features, fc1_weight, labels)
    with torch.autocast(features.device.type, enabled=False):
        cells = features.float().flatten(2)  # (B, C, hw)
        scores = _class_scores(cells, fc1_weight)  # (B, N, hw); their mean is what the pooled features give
        bce = F.multilabel_soft_margin_loss(scores.mean(dim=2), labels.float())
        rows = _pool_present(cells, scores, labels)
        class_logits = rows.features @ fc2_weight.float().T  # (ΣK, N)
        num_present = (labels > 0).sum(dim=1)  # (B,)
        cross_entropy = F.cross_entropy(class_logits, rows.class_index, reduction="none")  # (ΣK,)
        sce = (cross_entropy / num_present[rows.image_index]).sum() / len(labels)
        accuracy = (class_logits.argmax(dim=1) == rows.class_index).float().mean()
        loss = bce + weight * sce if weight else bce
    return {"bce": bce, "sce": sce, "loss": loss, "sce_accuracy": accuracy.detach()}


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
