"""The ReCAM head against the reference's numbers, and the properties that make it cheap."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wsss.cam import normalize
from wsss.models.recam import PUBLISHED, ReCAMVariant, map_weight, recam_loss, reweight

FORWARD = {"rtol": 1e-5, "atol": 1e-6}
GRADIENT = {"rtol": 1e-4, "atol": 1e-7}


@pytest.fixture(scope="module")
def reference(golden):
    return {name: torch.from_numpy(array) for name, array in golden("recam_head").items()}


def head(reference, fc2: str = "W2") -> tuple[Tensor, Tensor, Tensor]:
    """Leaf tensors f, W1, W2."""
    return tuple(reference[name].clone().requires_grad_() for name in ("f", "W1", fc2))


def random_head(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (3, 8, 5, 4), W1 and W2 (6, 8), labels (3, 6)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(3, 8, 5, 4, generator=generator)
    weights = torch.randn(2, 6, 8, generator=generator)
    labels = (torch.rand(3, 6, generator=generator) < 0.4).float()
    return features, weights[0], weights[1], labels


def test_losses_are_the_references(reference) -> None:
    losses = recam_loss(*head(reference), reference["labels"])
    for name, key in (("bce", "bce"), ("sce", "sce"), ("loss", "loss_lam1"), ("sce_accuracy", "sce_acc")):
        torch.testing.assert_close(losses[name], reference[key], **FORWARD)
    half = recam_loss(*head(reference), reference["labels"], weight=0.5)
    torch.testing.assert_close(half["loss"], reference["loss_lam05"], **FORWARD)


def test_class_features_are_the_references(reference) -> None:
    rows = reweight(reference["f"], reference["W1"], reference["labels"])
    expected = reference["class_features"][rows.image_index, rows.class_index]
    torch.testing.assert_close(rows.features, expected, **FORWARD)
    present = reference["labels"].nonzero()
    assert torch.equal(torch.stack([rows.image_index, rows.class_index], dim=1), present)


@pytest.mark.parametrize(
    ("term", "weight", "suffix"),
    [("loss", 1.0, "lam1"), ("loss", 0.5, "lam05"), ("sce", 1.0, "sce"), ("bce", 1.0, "bce")],
)
def test_gradients_are_the_references(reference, term: str, weight: float, suffix: str) -> None:
    leaves = head(reference)
    recam_loss(*leaves, reference["labels"], weight=weight)[term].backward()
    for name, leaf in zip(("f", "W1", "W2"), leaves, strict=True):
        key = f"grad_{name}_{suffix}"
        if key in reference:
            torch.testing.assert_close(leaf.grad, reference[key], **GRADIENT)
        else:
            assert (name, suffix) == ("W2", "bce")
            assert leaf.grad is None


def test_nothing_is_detached(reference) -> None:
    features, fc1, fc2 = head(reference)
    recam_loss(features, fc1, fc2, reference["labels"])["sce"].backward()
    for gradient, name in ((features.grad, "f"), (fc1.grad, "W1")):
        detached = reference[f"grad_{name}_sce_detached_max"]
        assert (gradient - detached).abs().max() > 0.1 * gradient.abs().max()
    difference = features.grad - reference["grad_f_sce_detached_cam"]
    assert difference.abs().max() > 0.1 * features.grad.abs().max()


def test_dead_map_and_image_without_class_stay_finite(reference) -> None:
    leaves = head(reference)
    losses = recam_loss(*leaves, reference["edge_labels"])
    torch.testing.assert_close(losses["bce"], reference["edge_bce"], **FORWARD)
    torch.testing.assert_close(losses["sce"], reference["edge_sce"], **FORWARD)
    losses["loss"].backward()
    for name, leaf in zip(("f", "W1", "W2"), leaves, strict=True):
        torch.testing.assert_close(leaf.grad, reference[f"edge_grad_{name}_lam1"], **GRADIENT)


def test_accuracy_is_pooled_over_pairs(reference) -> None:
    features, fc1, fc2 = head(reference, fc2="W2_b")
    losses = recam_loss(features, fc1, fc2, reference["labels"])
    torch.testing.assert_close(losses["sce_accuracy"], reference["sce_acc_b"], **FORWARD)  # 2 of 6, not a mean of means
    torch.testing.assert_close(losses["sce"], reference["sce_b"], **FORWARD)
    losses["sce"].backward()
    torch.testing.assert_close(fc2.grad, reference["grad_W2_sce_b"], **GRADIENT)


def test_batch_without_any_class_has_no_sce_and_still_a_gradient() -> None:
    features, fc1, fc2, labels = random_head(0)
    fc1.requires_grad_()
    losses = recam_loss(features, fc1, fc2, torch.zeros_like(labels))
    assert losses["sce"] == 0
    assert math.isnan(losses["sce_accuracy"])
    losses["loss"].backward()
    assert fc1.grad.isfinite().all()


def test_weight_zero_gives_the_gradient_of_the_bce_alone() -> None:
    features, fc1, fc2, labels = random_head(1)
    fc1.requires_grad_()
    losses = recam_loss(features, fc1, fc2, labels, weight=0.0)
    assert torch.equal(losses["loss"], losses["bce"])
    assert losses["sce"] > 0


def test_one_pixel_one_class_by_hand() -> None:
    features = torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)
    fc1 = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    rows = reweight(features, fc1, torch.tensor([[1.0, 0.0]]))
    expected = torch.tensor([[2.0, 4.0]]) * 2 / (2 + 1e-5)  # the map is 2 / (2 + eps), once per pixel
    torch.testing.assert_close(rows.features, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_mixed_precision_computes_in_float32(reference, dtype: torch.dtype) -> None:
    features, fc1, fc2 = head(reference)
    with torch.autocast("cpu", dtype=dtype):
        losses = recam_loss(features.to(dtype), fc1, fc2, reference["labels"])
    assert all(value.dtype == torch.float32 for value in losses.values())
    exact = recam_loss(features.to(dtype).float(), fc1, fc2, reference["labels"])
    torch.testing.assert_close(losses["loss"], exact["loss"], rtol=0, atol=0)


class LargestTensor(TorchDispatchMode):
    """Remember the most elements any operation has put out."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        views = "expand", "view", "permute", "transpose", "slice"  # these allocate nothing
        if not any(word in func.name() for word in views):
            self.numel = max([self.numel, *(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))])
        return out


@pytest.mark.parametrize("variant", [PUBLISHED, ReCAMVariant(0.5, "both", "present", "mass")], ids=str)
def test_the_weighted_maps_are_never_formed(variant: ReCAMVariant) -> None:
    B, N, C, h, w = 2, 5, 64, 6, 7
    features = torch.rand(B, C, h, w, requires_grad=True)
    fc1, fc2 = torch.randn(2, N, C, requires_grad=True).unbind()
    with LargestTensor() as largest:
        recam_loss(features, fc1, fc2, torch.ones(B, N), variant=variant)["loss"].backward()
    assert largest.numel == features.numel()  # B·C·h·w, where the broadcast form holds N times as many


@given(seed=st.integers(0, 2**16), data=st.data())
def test_order_of_classes_does_not_matter(seed: int, data: st.DataObject) -> None:
    features, fc1, fc2, labels = random_head(seed)
    order = data.draw(st.permutations(range(labels.shape[1])))
    losses = recam_loss(features, fc1, fc2, labels)
    permuted = recam_loss(features, fc1[order], fc2[order], labels[:, order])
    for name in ("bce", "sce", "loss"):  # not the accuracy: a dead map's logits tie, and the first class wins
        torch.testing.assert_close(permuted[name], losses[name], **FORWARD)


@given(seed=st.integers(0, 2**16))
def test_product_form_equals_the_broadcast_form(seed: int) -> None:
    features, fc1, _, labels = random_head(seed)
    rows = reweight(features, fc1, labels)
    maps = normalize(torch.einsum("nc,bchw->bnhw", fc1, features).relu(), eps=1e-5)
    broadcast = (maps[:, :, None] * features[:, None]).mean(dim=(3, 4))  # (B, N, C)
    torch.testing.assert_close(rows.features, broadcast[rows.image_index, rows.class_index], **FORWARD)


@pytest.mark.parametrize("shape", [(3, 7), (2, 6), (6,)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    features, fc1, fc2, _ = random_head(0)
    with pytest.raises(ValueError, match=r"expected labels \(3, 6\), got .*: one row an image, no background column"):
        reweight(features, fc1, torch.ones(shape))
    with pytest.raises(ValueError, match=r"expected labels \(3, 6\)"):
        recam_loss(features, fc1, fc2, torch.ones(shape))


def test_kinds_of_map_weight_by_hand() -> None:
    fc1, fc2 = torch.tensor([[2.0, -2.0, -2.0]]), torch.tensor([[3.0, -3.0, 3.0]])
    assert map_weight(fc1, fc2, "w1w2").tolist() == [[6.0, 6.0, -6.0]]
    assert map_weight(fc1, fc2, "w1_relu_w2").tolist() == [[6.0, 0.0, -6.0]]  # two vetoes are no vote
    assert map_weight(fc1, fc2, "fc1") is fc1
    assert map_weight(fc1, fc2, "fc2") is fc2
    with pytest.raises(KeyError, match="sum"):
        map_weight(fc1, fc2, "sum")  # type: ignore[arg-type]


def looped_loss(
    features: Tensor, fc1: Tensor, fc2: Tensor, labels: Tensor, weight: float, variant: ReCAMVariant
) -> Tensor:
    """The loss as its definition has it: image by image, class by class, with the weighted maps (C, h, w)."""
    num_classes = len(fc1)
    of_images, of_fc2 = [], []
    for image, of_image in zip(features, labels.bool(), strict=True):
        signs = torch.where(of_image, 1.0, -1.0)
        of_images.append(-(signs * (fc1 @ image.mean(dim=(1, 2)))).sigmoid().log().mean())
        present = of_image.nonzero()[:, 0].tolist()
        losses = []
        for k in present:
            cam = (fc1[k][:, None, None] * image).sum(dim=0).relu()  # (h, w)
            if variant.pooling == "mass":
                feature = (cam * image).sum(dim=(1, 2)) / (cam.sum() + 1e-5)  # (C,)
            else:
                peak = cam.max().detach() if variant.detach_max else cam.max()
                feature = (cam / (peak + 1e-5) * image).mean(dim=(1, 2))
            logits = fc2 @ feature
            rivals = present if variant.softmax == "present" else list(range(num_classes))
            sce = -(logits[k].exp() / logits[rivals].exp().sum()).log()
            own = torch.tensor([1.0 if j == k else -1.0 for j in range(num_classes)])
            bce = -(own * logits).sigmoid().log().mean()
            losses.append({"sce": sce, "bce": bce, "both": sce + bce}[variant.fc2_loss])
        of_fc2.append(sum(losses) / len(losses) if losses else torch.tensor(0.0))
    B = len(features)
    return variant.bce_weight * sum(of_images) / B + weight * sum(of_fc2) / B


VARIANTS = [
    ReCAMVariant(bce_weight, fc2_loss, softmax, pooling, detach_max)  # type: ignore[arg-type]
    for bce_weight, fc2_loss, softmax, pooling, detach_max in itertools.product(
        (0.5, 0.0), ("sce", "bce", "both"), ("all", "present"), ("pixels", "mass"), (False, True)
    )
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_is_the_loop_of_its_definition(variant: ReCAMVariant) -> None:
    *leaves, labels = random_head(3)
    labels[0] = 0
    labels[1, :2] = 1
    results = []
    for loss in (
        lambda *head: recam_loss(*head, labels, weight=0.7, variant=variant)["loss"],
        lambda *head: looped_loss(*head, labels, 0.7, variant),
    ):
        head = [leaf.clone().requires_grad_() for leaf in leaves]
        value = loss(*head)
        results.append([value.detach(), *torch.autograd.grad(value, head)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_the_terms_are_those_that_fc2_learns_by() -> None:
    *head, labels = random_head(2)
    terms = {
        name: recam_loss(*head, labels, weight=0.5, variant=ReCAMVariant(fc2_loss=name))  # type: ignore[arg-type]
        for name in ("sce", "bce", "both")
    }
    assert [*terms["sce"]] == ["bce", "sce", "loss", "sce_accuracy"]
    assert [*terms["bce"]] == ["bce", "fc2_bce", "loss", "sce_accuracy"]
    both = terms["both"]
    assert both["sce"] == terms["sce"]["sce"]
    assert both["fc2_bce"] == terms["bce"]["fc2_bce"]
    torch.testing.assert_close(both["loss"], both["bce"] + 0.5 * (both["sce"] + both["fc2_bce"]))


def test_a_detached_maximum_has_the_references_gradient(reference) -> None:
    features, fc1, fc2 = head(reference)
    losses = recam_loss(features, fc1, fc2, reference["labels"], variant=ReCAMVariant(detach_max=True))
    torch.testing.assert_close(losses["sce"], reference["sce"], **FORWARD)  # the value is the same
    losses["sce"].backward()
    for gradient, name in ((features.grad, "f"), (fc1.grad, "W1")):
        torch.testing.assert_close(gradient, reference[f"grad_{name}_sce_detached_max"], **GRADIENT)


def test_an_image_with_one_class_learns_nothing_from_a_softmax_over_it() -> None:
    *leaves, _ = random_head(4)
    labels = torch.eye(6)[:3]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    only_fc2 = ReCAMVariant(bce_weight=0.0, softmax="present")
    loss = recam_loss(*leaves, labels, variant=only_fc2)["loss"]
    loss.backward()
    assert loss == 0
    assert not any(leaf.grad.any() for leaf in leaves)  # there, so that several processes can add it up; and 0
    labels[0, 4] = 1
    assert recam_loss(*leaves, labels, variant=only_fc2)["loss"] > 0


@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 10))
def test_a_mean_by_mass_does_not_know_the_scale_of_the_map(seed: int, scale: float) -> None:
    features, fc1, _, labels = random_head(seed)
    labels *= torch.einsum("nc,bchw->bnhw", fc1, features).amax(dim=(2, 3)) > 0.1  # not the dead maps
    mass = ReCAMVariant(pooling="mass")
    rows = reweight(features, fc1, labels, variant=mass)
    scaled = reweight(features, scale * fc1, labels, variant=mass)
    torch.testing.assert_close(scaled.features, rows.features, rtol=1e-3, atol=1e-5)


def test_mass_and_pixels_by_hand() -> None:
    # The class sees the first of four cells alone: by mass its feature is that cell's, by pixels a quarter of it.
    features = torch.tensor([[2.0, 0, 0, 0], [4.0, 5, 6, 7]]).view(1, 2, 2, 2)
    fc1, labels = torch.tensor([[1.0, 0.0]]), torch.ones(1, 1)
    by_mass = reweight(features, fc1, labels, variant=ReCAMVariant(pooling="mass"))
    torch.testing.assert_close(by_mass.features, torch.tensor([[2.0, 4.0]]), rtol=1e-4, atol=0)
    torch.testing.assert_close(reweight(features, fc1, labels).features, torch.tensor([[0.5, 1.0]]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_dead_maps_and_images_without_class_stay_finite_in_every_variant(reference, variant: ReCAMVariant) -> None:
    leaves = head(reference)
    for labels in (reference["edge_labels"], torch.zeros_like(reference["labels"])):
        loss = recam_loss(*leaves, labels, variant=variant)["loss"]
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, leaves))


def test_a_loss_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left to learn"):
        recam_loss(*random_head(0), weight=0, variant=ReCAMVariant(bce_weight=0))
