"""Class activation maps against pytorch-grad-cam's, torch-cam's and LayerCAM's numbers, by hand, and as properties."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wsss.cam import (
    cam,
    channel_masks,
    element_wise_cam,
    fuse,
    grad_cam,
    grad_cam_pp,
    hires_cam,
    layer_cam,
    norm_grad,
    normalize,
    resize,
    score_cam,
    x_grad_cam,
)

GRADIENT_METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": grad_cam,
    "gradcampp": grad_cam_pp,
    "layercam": layer_cam,
    "elementwise": element_wise_cam,
}
ALL_METHODS = {**GRADIENT_METHODS, "xgradcam": x_grad_cam, "hirescam": hires_cam, "normgrad": norm_grad}
STAGES = ("stage1", "stage2", "stage3", "stage4")


@pytest.fixture(scope="module")
def reference(golden):
    return {name: torch.from_numpy(array) for name, array in golden("layercam").items()}


def assert_same_maps(maps: Tensor, expected: Tensor, *, rtol: float = 1e-4) -> None:
    torch.testing.assert_close(maps, expected, rtol=rtol, atol=1e-6 * float(expected.abs().max()))


def random_pair(seed: int, *, signed: bool = False) -> tuple[Tensor, Tensor]:
    """Activations and gradients (2, 4, 5, 6)."""
    generator = torch.Generator().manual_seed(seed)
    activations, gradients = torch.randn(2, 2, 4, 5, 6, generator=generator)
    return activations if signed else activations.relu(), gradients


# --- reference ---


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_gradient_maps_are_pytorch_grad_cams(reference, name: str, stage: str) -> None:
    maps = GRADIENT_METHODS[name](reference[f"act_{stage}"], reference[f"grad_{stage}"])
    assert_same_maps(maps, reference[f"pgc_{name}_{stage}"].relu(), rtol=1e-3 if name == "gradcampp" else 1e-4)


@pytest.mark.parametrize("name", ["layercam", "elementwise", "gradcam"])
def test_activations_of_both_signs_are_handled_as_pytorch_grad_cam_does(reference, name: str) -> None:
    maps = GRADIENT_METHODS[name](reference["act_stage3conv"], reference["grad_stage3conv"])
    assert_same_maps(maps, reference[f"pgc_{name}_stage3conv"].relu())


def test_layer_cam_and_element_wise_cam_differ_where_activations_are_negative(reference) -> None:
    pair = reference["act_stage3conv"], reference["grad_stage3conv"]
    assert not torch.allclose(layer_cam(*pair), element_wise_cam(*pair), rtol=0.1)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["layercam", "gradcam"])
def test_gradient_maps_are_torch_cams(reference, name: str, stage: str) -> None:
    maps = GRADIENT_METHODS[name](reference[f"act_{stage}"], reference[f"grad_{stage}"])
    assert_same_maps(maps, reference[f"tc_{name}_{stage}"])


def test_cam_is_the_references_after_relu(reference) -> None:
    weight = reference["w.fc.weight"]
    maps = cam(reference["act_stage4"], weight)  # (B, N, h, w)
    assert maps.shape == (2, 6, 4, 4)
    for row, target, expected, torch_cams in zip(
        maps, reference["targets"], reference["cam_stage4"], reference["tc_cam_stage4"], strict=True
    ):
        assert_same_maps(row[target], expected.relu())
        assert_same_maps(row[target], torch_cams.relu())


def test_grad_cam_of_a_pooled_score_is_cam_divided_by_the_cells(reference) -> None:
    maps = cam(reference["act_stage4"], reference["w.fc.weight"])[torch.arange(2), reference["targets"]]
    assert_same_maps(grad_cam(reference["act_stage4"], reference["grad_stage4"]) * 16, maps)


@pytest.mark.parametrize("stage", STAGES)
def test_scaling_is_the_papers(reference, stage: str) -> None:
    maps = layer_cam(reference[f"act_{stage}"], reference[f"grad_{stage}"])
    scaled = fuse([maps], tuple(maps.shape[1:]), scaled=[True])
    torch.testing.assert_close(scaled, reference[f"layercam_scaled_{stage}"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("stages", "size", "key"),
    [
        (3, 64, "layercam_fused_stages123_64"),
        (3, 32, "layercam_fused_stages123_32"),
        (4, 64, "layercam_fused_all_64"),
    ],
)
def test_fusion_is_the_papers(reference, stages: int, size: int, key: str) -> None:
    maps = [layer_cam(reference[f"act_{s}"], reference[f"grad_{s}"]) for s in STAGES[:stages]]
    fused = fuse(maps, (size, size), scaled=[True, True, True, False][:stages])
    torch.testing.assert_close(fused, reference[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("stage", ["stage3", "stage4"])
def test_normalised_maps_match_the_official_layer_cam_where_the_minimum_is_zero(reference, stage: str) -> None:
    maps = layer_cam(reference[f"act_{stage}"], reference[f"grad_{stage}"])
    resized = resize(maps, (64, 64))
    floor = resized.amin(dim=(1, 2), keepdim=True)  # theirs subtracts it, `normalize` does not
    expected = reference[f"official_layercam_{stage}_64"]
    torch.testing.assert_close(normalize(resized - floor), expected, rtol=0, atol=1e-5)


# --- by hand ---


def test_cam_by_hand() -> None:
    features = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[4.0, 3.0], [2.0, 1.0]]])[None]
    weight = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    assert cam(features, weight).tolist() == [[[[0.0, 0.0], [1.0, 3.0]], [[0.5, 1.0], [1.5, 2.0]]]]


@pytest.fixture
def two_by_two() -> tuple[Tensor, Tensor]:
    """Two channels of 2 × 2 cells; the gradient of the first sums to +2, of the second to -4."""
    activations = torch.tensor([[[1.0, 2.0], [0.0, 3.0]], [[2.0, 0.0], [1.0, 1.0]]])[None]
    gradients = torch.tensor([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 1.0], [-3.0, -3.0]]])[None]
    return activations, gradients


def test_grad_cam_by_hand(two_by_two) -> None:
    # weights 0.5 and -1: 0.5 * [[1, 2], [0, 3]] - [[2, 0], [1, 1]]
    assert grad_cam(*two_by_two).tolist() == [[[0.0, 1.0], [0.0, 0.5]]]


def test_layer_cam_by_hand(two_by_two) -> None:
    assert layer_cam(*two_by_two).tolist() == [[[3.0, 0.0], [0.0, 0.0]]]  # 1 * 1 + 1 * 2; nothing else agrees


def test_layer_cam_counts_only_channels_that_raise_the_logit() -> None:
    activations = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    gradients = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
    assert layer_cam(activations, gradients).item() == 6.0  # 2 * 3; the second channel lowers it


def test_element_wise_cam_by_hand() -> None:
    activations = torch.tensor([-3.0, 5.0]).view(1, 2, 1, 1)
    gradients = torch.tensor([-2.0, -1.0]).view(1, 2, 1, 1)
    assert element_wise_cam(activations, gradients).item() == 6.0  # (-2) * (-3)
    assert layer_cam(activations, gradients).item() == 0.0


def test_grad_cam_pp_by_hand() -> None:
    activations, gradients = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    # alpha = 1 / (2 + 4) in the first cell, 0 in the second; weight 1/6
    torch.testing.assert_close(grad_cam_pp(activations, gradients, eps=0.0), torch.tensor([[[1 / 6, 0.5]]]))


def test_grad_cam_pp_ignores_a_falling_logit_where_its_denominator_vanishes() -> None:
    activations, gradients = torch.tensor([2.0]).view(1, 1, 1, 1), torch.tensor([-1.0]).view(1, 1, 1, 1)
    assert grad_cam_pp(activations, gradients, eps=0.0).item() == 0.0  # 2 G² + G³ ΣA = 2 - 2


def test_x_grad_cam_by_hand() -> None:
    activations = torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])[None]
    gradients = torch.tensor([[[2.0, -1.0]], [[5.0, 5.0]]])[None]
    # weight (2 - 3) / 4; the second channel is dead
    assert x_grad_cam(activations, -gradients).tolist() == [[[0.25, 0.75]]]
    assert x_grad_cam(activations, gradients).tolist() == [[[0.0, 0.0]]]


def test_hires_cam_by_hand() -> None:
    activations = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    assert hires_cam(activations, torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)).item() == 1.0  # 6 - 5
    assert hires_cam(activations, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)).item() == 0.0


def test_norm_grad_by_hand() -> None:
    # two cells of two channels: |(3, 4)| |(0, -2)| = 5 * 2, |(5, 12)| |(0, 0)| = 0
    activations = torch.tensor([[[3.0, 5.0]], [[4.0, 12.0]]])[None]
    gradients = torch.tensor([[[0.0, 0.0]], [[-2.0, 0.0]]])[None]
    assert norm_grad(activations, gradients).tolist() == [[[10.0, 0.0]]]


@given(seed=st.integers(0, 2**16))
def test_norm_grad_is_the_gradient_of_a_convolutions_weights_cell_by_cell(seed: int) -> None:
    activations, gradients = random_pair(seed, signed=True)
    outer = torch.einsum("bchw,bdhw->bhwcd", activations, gradients)
    torch.testing.assert_close(norm_grad(activations, gradients), outer.flatten(3).norm(dim=3), rtol=1e-4, atol=1e-5)


def test_score_cam_by_hand() -> None:
    activations = torch.tensor([[[4.0, 0.0]], [[0.0, 8.0]]])
    scores = torch.tensor([[0.0, 0.0], [0.0, torch.log(torch.tensor(3.0))]])
    torch.testing.assert_close(score_cam(activations, scores), torch.tensor([[[2.0, 4.0]], [[1.0, 6.0]]]))


@pytest.mark.parametrize("stage", ["stage3", "stage4"])
def test_score_cam_is_pytorch_grad_cams(reference, stage: str) -> None:
    for index, a in enumerate(reference[f"act_{stage}"]):
        weights = reference[f"pgc_scorecam_{stage}_weights"][index].flatten()
        maps = score_cam(a, weights.log()[None])[0]  # the softmax of a logarithm is the number itself
        assert_same_maps(maps, reference[f"pgc_scorecam_{stage}"][index].relu())


def test_a_flat_channel_masks_everything() -> None:
    masks = channel_masks(torch.stack([torch.full((2, 2), 3.0), torch.eye(2)]), (4, 4))
    assert (masks[0] == 0).all()
    assert masks[1].amax() == pytest.approx(1)
    assert masks[1].amin() == 0


def test_fuse_by_hand() -> None:
    coarse, fine = torch.tensor([[4.0]]), torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    assert fuse([coarse, fine], (2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert fuse([coarse, fine], (2, 2), mode="mean").tolist() == [[0.5, 0.625], [0.75, 1.0]]
    weighted = fuse([coarse, fine], (2, 2), mode="mean", weights=[1, 3])
    assert weighted.tolist() == [[0.25, 0.4375], [0.625, 1.0]]


def test_normalize_by_hand() -> None:
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert normalize(maps).tolist() == [[[0.0, 0.25], [0.5, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]
    assert normalize(maps, eps=4.0)[0].tolist() == [[0.0, 0.125], [0.25, 0.5]]


# --- properties ---


@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(ALL_METHODS)), signed=st.booleans())
def test_a_mirrored_input_gives_the_mirrored_map(seed: int, name: str, signed: bool) -> None:
    # These two are meant for activations ≥ 0; with others a denominator crosses zero and rounding decides.
    activations, gradients = random_pair(seed, signed=signed and name not in ("gradcampp", "xgradcam"))
    method = ALL_METHODS[name]
    mirrored = method(activations.flip(-1), gradients.flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, method(activations, gradients), rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(ALL_METHODS)), data=st.data())
def test_order_of_channels_does_not_matter(seed: int, name: str, data: st.DataObject) -> None:
    activations, gradients = random_pair(seed)
    order = data.draw(st.permutations(range(4)))
    method = ALL_METHODS[name]
    permuted = method(activations[:, order], gradients[:, order])
    torch.testing.assert_close(permuted, method(activations, gradients), rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**16), data=st.data())
def test_cam_follows_mirrored_features_permuted_classes_and_scaled_weights(seed: int, data: st.DataObject) -> None:
    features = random_pair(seed)[0]
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))
    order, scale = data.draw(st.permutations(range(3))), data.draw(st.floats(1e-3, 1e3))
    maps = cam(features, weight)
    torch.testing.assert_close(cam(features.flip(-1), weight).flip(-1), maps, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cam(features, weight[order]), maps[:, order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(normalize(cam(features, scale * weight)), normalize(maps), rtol=1e-3, atol=1e-4)


@given(seed=st.integers(0, 2**16))
def test_cam_is_grad_cam_times_the_cells_where_a_pooled_layer_feeds_a_linear_one(seed: int) -> None:
    features = random_pair(seed)[0]
    weight = torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))
    cells = features.shape[2] * features.shape[3]
    gradients = (weight[0, :, None, None] / cells).expand_as(features)
    torch.testing.assert_close(grad_cam(features, gradients) * cells, cam(features, weight)[:, 0], rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**16))
def test_layer_cam_is_element_wise_cam_where_activations_are_not_negative(seed: int) -> None:
    pair = random_pair(seed)
    torch.testing.assert_close(layer_cam(*pair), element_wise_cam(*pair), rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(ALL_METHODS)))
def test_a_batch_of_one_is_one_of_a_batch(seed: int, name: str) -> None:
    activations, gradients = random_pair(seed)
    alone = ALL_METHODS[name](activations[1:], gradients[1:])
    torch.testing.assert_close(alone, ALL_METHODS[name](activations, gradients)[1:], rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(ALL_METHODS)), signed=st.booleans())
def test_maps_are_never_negative(seed: int, name: str, signed: bool) -> None:
    assert (ALL_METHODS[name](*random_pair(seed, signed=signed)) >= 0).all()


@given(
    seed=st.integers(0, 2**16),
    name=st.sampled_from(sorted({*ALL_METHODS} - {"gradcampp"})),
    scales=st.tuples(st.floats(1e-2, 1e2), st.floats(1e-2, 1e2)),
)
def test_normalised_maps_do_not_depend_on_scale(seed: int, name: str, scales: tuple[float, float]) -> None:
    activations, gradients = random_pair(seed)
    method = ALL_METHODS[name]
    scaled = normalize(method(activations * scales[0], gradients * scales[1]))
    maps = method(activations, gradients)
    # What rounding leaves of terms that cancel is small beside the terms, not beside a map that is nearly zero.
    noise = (
        1e-5
        * float((activations * gradients).abs().sum(dim=1).max())
        / float(maps.amax(dim=(1, 2)).min().clamp(min=1e-6))
    )
    torch.testing.assert_close(scaled, normalize(maps), rtol=1e-4, atol=1e-5 + noise)


@given(
    seed=st.integers(0, 2**16), rows=st.integers(1, 9), columns=st.integers(1, 9), mode=st.sampled_from(["max", "mean"])
)
def test_fused_maps_stay_between_zero_and_one(seed: int, rows: int, columns: int, mode: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.rand(2, 3, 4, generator=generator), torch.rand(2, 6, 5, generator=generator)]
    fused = fuse(maps, (rows, columns), mode=mode, scaled=[False, True])
    assert fused.shape == (2, rows, columns)
    assert ((fused >= 0) & (fused <= 1)).all()


@given(seed=st.integers(0, 2**16))
def test_normalising_twice_changes_nothing(seed: int) -> None:
    once = normalize(torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(seed)))
    torch.testing.assert_close(normalize(once), once)
    assert (once.amax(dim=(1, 2)) == 1).all()


def test_a_dead_map_stays_zero_through_normalisation_and_fusion() -> None:
    dead, alive = torch.zeros(1, 2, 2), torch.ones(1, 2, 2)
    for maps in (normalize(dead), normalize(dead, eps=1e-5), fuse([dead, dead], (4, 4), scaled=[True, False])):
        assert (maps == 0).all()
    assert (fuse([dead, alive], (2, 2)) == 1).all()


def test_an_image_without_classes_has_empty_maps() -> None:
    assert cam(torch.rand(1, 3, 2, 2), torch.rand(0, 3)).shape == (1, 0, 2, 2)
    assert fuse([torch.zeros(0, 2, 2), torch.zeros(0, 3, 3)], (5, 5)).shape == (0, 5, 5)


# --- errors ---


@pytest.mark.parametrize("method", ALL_METHODS.values())
def test_activations_and_gradients_of_different_shapes_are_refused(method) -> None:
    with pytest.raises(ValueError, match=r"expected two tensors \(B, C, h, w\), got \(1, 2, 3, 3\), \(1, 2, 3, 4\)"):
        method(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="expected two tensors"):
        method(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3))


def test_cam_refuses_a_classifier_of_other_channels() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 4, 2, 2\), \(6, 3\)"):
        cam(torch.zeros(1, 4, 2, 2), torch.zeros(6, 3))


def test_score_cam_refuses_scores_of_other_channels() -> None:
    with pytest.raises(ValueError, match=r"got \(4, 2, 2\), \(1, 3\)"):
        score_cam(torch.zeros(4, 2, 2), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("mode", "weights"), [("max", [1.0, 1.0]), ("mean", [1.0]), ("mean", [1.0, -1.0]), ("mean", [0.0, 0.0])]
)
def test_fuse_refuses_weights_without_a_mean(mode: str, weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 2 weights"):
        fuse([torch.ones(2, 2), torch.ones(2, 2)], (2, 2), mode=mode, weights=weights)


def test_fuse_refuses_nothing_and_unknown_modes() -> None:
    with pytest.raises(ValueError, match="expected one or more maps"):
        fuse([], (2, 2))
    with pytest.raises(ValueError, match="got 1 and 2"):
        fuse([torch.ones(1, 2, 2)], (2, 2), scaled=[True, False])
    with pytest.raises(ValueError, match="expected mode 'max' or 'mean', got 'sum'"):
        fuse([torch.ones(1, 2, 2)], (2, 2), mode="sum")  # type: ignore[arg-type]
