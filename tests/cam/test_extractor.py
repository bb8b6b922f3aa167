"""The extractor against golden arrays and two peers, on any network; what it leaves behind: nothing."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wsss import _torchvision  # noqa: F401  (lets torchvision load)
from wsss.cam import METHODS, CAMExtractor, cam, normalize, resize

GRADIENT_METHODS = [method for method in METHODS if method != "score_cam"]
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
GOLDEN_NAMES = {
    "grad_cam": "gradcam",
    "grad_cam_pp": "gradcampp",
    "layer_cam": "layercam",
    "element_wise_cam": "elementwise",
}


class Tiny(nn.Module):
    """The network of golden/layercam.npz, of any sizes."""

    def __init__(self, channels: tuple[int, ...] = (16, 24, 32, 48), num_classes: int = 6) -> None:
        super().__init__()
        sizes = zip((3, *channels), channels, strict=False)
        for index, (c_in, c_out) in enumerate(sizes, start=1):
            conv = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False)
            self.add_module(f"stage{index}", nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)))
        self.fc = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for name, stage in self.named_children():
            if name != "fc":
                x = stage(x)
        return self.fc(x.mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def reference(golden: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in golden("layercam").items()}


@pytest.fixture(scope="module")
def tiny(reference: dict[str, Tensor]) -> Tiny:
    network = Tiny().eval()
    state = OrderedDict((key[2:], value) for key, value in reference.items() if key.startswith("w."))
    network.load_state_dict(state, strict=False)
    return network


@pytest.fixture
def small() -> Tiny:
    torch.manual_seed(0)
    network = Tiny((4, 6, 8), 5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network


IMAGES = torch.randn(3, 3, 32, 24, generator=torch.Generator().manual_seed(1))


def num_hooks(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


# --- reference ---


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3", "stage4"])
@pytest.mark.parametrize("method", GOLDEN_NAMES)
def test_maps_are_pytorch_grad_cams(reference: dict[str, Tensor], tiny: Tiny, method: str, stage: str) -> None:
    classes = [[int(target)] for target in reference["targets"]]
    maps = torch.cat(CAMExtractor(tiny, [stage], method)(reference["x"], classes)[stage])
    expected = reference[f"pgc_{GOLDEN_NAMES[method]}_{stage}"].relu()
    rtol = 1e-3 if method == "grad_cam_pp" else 1e-4
    torch.testing.assert_close(maps, expected, rtol=rtol, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("stage", ["stage3", "stage4"])
def test_score_cam_is_pytorch_grad_cams(reference: dict[str, Tensor], tiny: Tiny, stage: str) -> None:
    classes = [[int(target)] for target in reference["targets"]]
    maps = torch.cat(CAMExtractor(tiny, [stage], "score_cam")(reference["x"], classes)[stage])
    expected = reference[f"pgc_scorecam_{stage}"].relu()
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_a_convolution_before_work_in_place_keeps_its_own_output(reference: dict[str, Tensor], tiny: Tiny) -> None:
    classes = [[int(target)] for target in reference["targets"]]
    maps = torch.cat(CAMExtractor(tiny, ["stage3.0"], "layer_cam")(reference["x"], classes)["stage3.0"])
    torch.testing.assert_close(maps, reference["pgc_layercam_stage3conv"].relu(), rtol=1e-4, atol=1e-6)


def test_a_norm_before_work_in_place_keeps_its_own_output(small: Tiny) -> None:
    drawn = CAMExtractor(small, ["stage2.1", "stage3.1"], "hires_cam")(IMAGES, [[0], [1], [2]])
    for stage in (small.stage2, small.stage3):
        stage[2] = nn.ReLU()
    copied = CAMExtractor(small, ["stage2.1", "stage3.1"], "hires_cam")(IMAGES, [[0], [1], [2]])
    for layer in drawn:
        torch.testing.assert_close(drawn[layer], copied[layer])
    with torch.no_grad():
        assert small.stage1(IMAGES).min() == 0


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network: nn.Module = resnet18(weights=None).eval()
    return network


RESNET_IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
PGC = {
    "grad_cam": "GradCAM",
    "grad_cam_pp": "GradCAMPlusPlus",
    "x_grad_cam": "XGradCAM",
    "element_wise_cam": "GradCAMElementWise",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", PGC)
def test_maps_are_those_of_pytorch_grad_cam(resnet: nn.Module, method: str, layer: str) -> None:
    pgc = pytest.importorskip("pytorch_grad_cam")
    targets = [pgc.utils.model_targets.ClassifierOutputTarget(c) for c in (3, 5)]
    target_layer = resnet.get_submodule(layer)
    with getattr(pgc, PGC[method])(resnet, [target_layer]) as theirs:
        theirs(RESNET_IMAGES, targets)
        kept = theirs.activations_and_grads
        pair = kept.activations[0].detach().numpy(), kept.gradients[0].detach().numpy()
        raw = theirs.get_cam_image(RESNET_IMAGES, target_layer, targets, *pair, False)
    expected = torch.from_numpy(np.maximum(raw, 0))
    maps = torch.cat(CAMExtractor(resnet, [layer], method)(RESNET_IMAGES, [[3], [5]])[layer])
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


TORCH_CAM = {"grad_cam": "GradCAM", "x_grad_cam": "XGradCAM", "layer_cam": "LayerCAM"}


@pytest.mark.parametrize(
    ("method", "layer"), [("cam", "layer4"), *((method, layer) for method in TORCH_CAM for layer in LAYERS)]
)
def test_maps_are_those_of_torch_cam(resnet: nn.Module, method: str, layer: str) -> None:
    methods = pytest.importorskip("torchcam.methods")
    options = {"fc_layer": "fc"} if method == "cam" else {}
    extractor = getattr(methods, TORCH_CAM.get(method, "CAM"))(resnet, target_layer=layer, **options)
    expected = extractor([3, 5], resnet(RESNET_IMAGES), normalized=False)[0].relu()
    extractor.remove_hooks()
    maps = torch.cat(CAMExtractor(resnet, [layer], method)(RESNET_IMAGES, [[3], [5]])[layer])
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


# --- properties ---


def test_cam_is_the_closed_form(small: Tiny) -> None:
    maps = CAMExtractor(small, ["stage3"], "cam")(IMAGES, [[0, 3], [1], []])["stage3"]
    features = IMAGES
    for name in ("stage1", "stage2", "stage3"):
        features = small.get_submodule(name)(features)
    expected = cam(features, small.fc.weight)
    for image, classes in enumerate([[0, 3], [1], []]):
        torch.testing.assert_close(maps[image], expected[image, classes].detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_its_images_give_alone(small: Tiny, method: str) -> None:
    classes = [[0, 3], [], [4, 1, 2]]
    with CAMExtractor(small, ["stage1", "stage3"], method) as extractor:
        together = extractor(IMAGES, classes)
        for index, wanted in enumerate(classes):
            alone = extractor(IMAGES[index : index + 1], [wanted])
            for layer, maps in together.items():
                assert maps[index].shape[0] == len(wanted)
                scale = float(alone[layer][0].max()) if wanted else 1.0
                torch.testing.assert_close(maps[index], alone[layer][0], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("method", METHODS)
def test_layers_together_give_what_they_give_alone(small: Tiny, method: str) -> None:
    together = CAMExtractor(small, ["stage3", "stage2"], method)(IMAGES, [[0], [1], [2]])
    assert list(together) == ["stage3", "stage2"]
    for layer in together:
        alone = CAMExtractor(small, [layer], method)(IMAGES, [[0], [1], [2]])[layer]
        torch.testing.assert_close(together[layer], alone, rtol=1e-5, atol=1e-7)


@settings(max_examples=20)
@given(order=st.permutations([0, 1, 2, 3]), method=st.sampled_from(METHODS))
def test_order_of_classes_orders_the_maps(order: list[int], method: str) -> None:
    torch.manual_seed(0)
    extractor = CAMExtractor(Tiny((4, 6, 8), 5).eval(), ["stage2"], method)
    straight = extractor(IMAGES[:1], [[0, 1, 2, 3]])["stage2"][0]
    torch.testing.assert_close(extractor(IMAGES[:1], [order])["stage2"][0], straight[order], rtol=1e-4, atol=1e-7)


@settings(max_examples=20)
@given(power=st.integers(-6, 6), method=st.sampled_from(sorted({*GRADIENT_METHODS} - {"grad_cam_pp"})))
def test_maps_grow_with_the_score(power: int, method: str) -> None:
    torch.manual_seed(0)
    network = Tiny((4, 6, 8), 5).eval()
    plain = CAMExtractor(network, ["stage2"], method)(IMAGES, [[0], [1], [2]])["stage2"]
    scaled = CAMExtractor(network, ["stage2"], method, score=lambda y: y * 2.0**power)(IMAGES, [[0], [1], [2]])[
        "stage2"
    ]
    torch.testing.assert_close([m / 2.0**power for m in scaled], plain, rtol=1e-4, atol=1e-7)


def test_without_classes_the_best_scoring_one_is_drawn(small: Tiny) -> None:
    best = small(IMAGES).argmax(dim=1).tolist()
    extractor = CAMExtractor(small, ["stage3"])
    expected = extractor(IMAGES, [[c] for c in best])["stage3"]
    torch.testing.assert_close(extractor(IMAGES)["stage3"], expected)


def test_a_score_may_be_any_function_of_the_output(small: Tiny) -> None:
    difference = CAMExtractor(small, ["stage2"], score=lambda y: (y[:, 0] - y[:, 1])[:, None])
    maps = difference(IMAGES, [[0]] * 3)["stage2"]
    assert [m.shape for m in maps] == [(1, 8, 6)] * 3
    with pytest.raises(ValueError, match=r"pass score="):
        CAMExtractor(small, ["stage2"], score=lambda y: y[:, 0])(IMAGES)


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_stays_close(small: Tiny, method: str) -> None:
    layers = ["stage1", "stage2", "stage3"]
    extractor = CAMExtractor(small, layers, method)
    full = extractor(IMAGES, [[0], [1], [2]])
    with torch.autocast("cpu", torch.bfloat16):
        half = extractor(IMAGES, [[0], [1], [2]])
    # Shallow stages have passed more half-precision layers on the way back.
    # NormGrad has it worst: a ReLU that rounding opens lets a whole gradient through, whatever its activation.
    for layer, bound in zip(layers, (0.25, 0.2, 0.05), strict=True):
        for a, b in zip(full[layer], half[layer], strict=True):
            assert b.dtype == torch.float32
            torch.testing.assert_close(b, a, rtol=0, atol=bound * float(a.max()) + 1e-6)


@pytest.mark.parametrize("method", ["cam", "layer_cam", "score_cam"])
def test_scales_and_mirror_images_are_added(small: Tiny, method: str) -> None:
    classes, scales = [[0], [1, 3], [2]], {0.5: (16, 12), 1.0: (32, 24), 1.5: (48, 36)}
    extractor = CAMExtractor(small, ["stage3", "stage2"], method)
    drawn = extractor.multi_scale(IMAGES, classes, scales=list(scales))
    for layer, of_images in drawn.items():
        for index, maps in enumerate(of_images):
            total = torch.zeros(len(classes[index]), 8, 6)
            for size in scales.values():
                image = resize(IMAGES[index : index + 1], size)
                straight = extractor(image, [classes[index]])[layer][0]
                mirrored = extractor(image.flip(-1), [classes[index]])[layer][0]
                total += resize(straight + mirrored.flip(-1), (8, 6))
            torch.testing.assert_close(maps, normalize(total), rtol=1e-4, atol=1e-5)


def test_one_scale_without_flip_is_a_call_at_stride_4(small: Tiny) -> None:
    extractor = CAMExtractor(small, ["stage2"], "layer_cam")
    best = extractor.multi_scale(IMAGES, scales=[1.0], flip=False)["stage2"]
    for maps, once in zip(best, extractor(IMAGES)["stage2"], strict=True):
        torch.testing.assert_close(maps, normalize(resize(once, (8, 6))))


def test_masked_images_keep_the_memory_format(small: Tiny) -> None:
    formats = []
    small.stage1[0].register_forward_pre_hook(
        lambda _, inputs: formats.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    extractor = CAMExtractor(small, ["stage3"], "score_cam")
    plain = extractor(IMAGES[:1], [[0, 1]])["stage3"][0]
    assert not any(formats)
    formats.clear()
    last = extractor(IMAGES[:1].contiguous(memory_format=torch.channels_last), [[0, 1]])["stage3"][0]
    assert all(formats)
    torch.testing.assert_close(last, plain, rtol=1e-4, atol=1e-5)


def test_grad_cam_pp_takes_its_eps(small: Tiny) -> None:
    maps = [CAMExtractor(small, ["stage2"], "grad_cam_pp", eps=eps)(IMAGES)["stage2"][0] for eps in (1e-12, 1e-1)]
    assert float(maps[0].max()) > 2 * float(maps[1].max())


# --- nothing left behind ---


def test_nothing_is_left_behind(small: Tiny) -> None:
    small.stage1.train()
    small.stage2.requires_grad_(False)
    for parameter in small.parameters():
        parameter.grad = torch.ones_like(parameter)
    modes = [module.training for module in small.modules()]
    wanted = [parameter.requires_grad for parameter in small.parameters()]
    state = {key: value.clone() for key, value in small.state_dict().items()}
    for index in range(200):
        with CAMExtractor(small, ["stage1", "stage3"], METHODS[index % len(METHODS)]) as extractor:
            extractor(IMAGES, [[0, 1], [2], []])
    assert num_hooks(small) == 0
    assert torch.is_grad_enabled()
    assert modes == [module.training for module in small.modules()]
    assert wanted == [parameter.requires_grad for parameter in small.parameters()]
    assert all((parameter.grad == 1).all() for parameter in small.parameters())
    assert all(torch.equal(value, state[key]) for key, value in small.state_dict().items())


def test_no_tensor_outlives_a_call(small: Tiny) -> None:
    def num_tensors() -> int:
        gc.collect()
        return sum(type(thing) in (Tensor, nn.Parameter) for thing in gc.get_objects())

    extractor = CAMExtractor(small, ["stage1", "stage3"])
    extractor(IMAGES)
    before = num_tensors()
    for _ in range(20):
        extractor(IMAGES, [[0, 1]] * 3)
    assert num_tensors() == before


def test_hooks_go_when_the_network_fails(small: Tiny) -> None:
    with pytest.raises(RuntimeError):
        CAMExtractor(small, ["stage1"])(torch.zeros(1, 7, 8, 8))
    with pytest.raises(ValueError, match="no class 9; expected 0 to 4"):
        CAMExtractor(small, ["stage1"])(IMAGES, [[9], [0], [0]])
    assert num_hooks(small) == 0
    assert torch.is_grad_enabled()


def test_extractors_nest(small: Tiny) -> None:
    plain = CAMExtractor(small, ["stage2"])(IMAGES)["stage2"]
    inner: list[list[Tensor]] = []

    def score(output: Tensor) -> Tensor:
        if not inner:
            inner.append([])
            inner[0] = CAMExtractor(Tiny((4, 6, 8), 5), ["stage2"])(IMAGES)["stage2"]
        return output

    with CAMExtractor(small, ["stage1"]) as a, CAMExtractor(small, ["stage2"], score=score) as b:
        a(IMAGES)
        torch.testing.assert_close(b(IMAGES)["stage2"], plain)
    assert num_hooks(small) == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_maps_do_not_depend_on_the_callers_grad_mode(small: Tiny, mode: Any) -> None:
    expected = CAMExtractor(small, ["stage2"])(IMAGES)["stage2"]
    with mode():
        maps = CAMExtractor(small, ["stage2"])(IMAGES * 1.0)["stage2"]
    torch.testing.assert_close(maps, expected)
    assert not any(m.requires_grad for m in maps)


# --- errors ---


class Branches(nn.Module):
    """A layer beside the score, one that runs twice, one that never runs, one of another shape."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.beside, self.twice, self.never = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.flat = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        self.beside(x)
        return self.flat(self.twice(self.twice(self.main(x))))[:, :4]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("beside", "layer beside: the score does not depend on it"),
        ("twice", "layer twice: the network runs it more than once"),
        ("never", "layer never: the network did not run it"),
        ("flat", r"layer flat: its output is not a tensor \(B, C, h, w\)"),
    ],
)
def test_a_layer_without_a_map_is_named(layer: str, message: str) -> None:
    network = Branches()
    for layers in ([layer], ["main", layer]):
        with pytest.raises(ValueError, match=message):
            CAMExtractor(network, layers)(IMAGES)
    assert num_hooks(network) == 0


def test_layers_are_found_by_the_end_of_their_name() -> None:
    network = nn.ModuleDict({"a": Tiny((4, 6)), "b": nn.Sequential(nn.Conv2d(3, 3, 1))})
    CAMExtractor(network, ["stage2.0"])
    with pytest.raises(ValueError, match=r"layer stage9: .* none; its modules are a, a\.stage1"):
        CAMExtractor(network, ["stage9"])
    with pytest.raises(ValueError, match=r"layer 0: .* several: a\.stage1\.0"):
        CAMExtractor(network, ["0"])


def test_unknown_methods_and_wrong_classes_are_refused(small: Tiny) -> None:
    with pytest.raises(ValueError, match="method 'gradcam': expected one of cam, grad_cam"):
        CAMExtractor(small, ["stage1"], "gradcam")
    with pytest.raises(ValueError, match="at least one name"):
        CAMExtractor(small, [])
    with pytest.raises(ValueError, match="one list for each of 3 images, got 1"):
        CAMExtractor(small, ["stage1"])(IMAGES, [[0]])


def test_slips_of_the_caller_are_named(small: Tiny) -> None:
    extractor = CAMExtractor(small, "stage3")  # one name alone is a list of one
    with pytest.raises(ValueError, match=r"a list of indices for each image, got 0; pass \[\[0\], …\]"):
        extractor(IMAGES, [0, 1, 2])
    with pytest.raises(ValueError, match=r"one list for each of 3 images, got 1"):
        extractor.multi_scale(IMAGES, [[0]])
    with pytest.raises(ValueError, match=r"scales: expected at least one"):
        extractor.multi_scale(IMAGES, scales=[])
    with pytest.raises(ValueError, match=r"score_cam has no option 'eps'; expected none"):
        CAMExtractor(small, ["stage3"], "score_cam", eps=1)
    with pytest.raises(ValueError, match=r"grad_cam_pp has no option 'foo'; expected eps"):
        CAMExtractor(small, ["stage3"], "grad_cam_pp", foo=1)
    with pytest.raises(ValueError, match=r"batch_size 0"):
        CAMExtractor(small, ["stage3"], batch_size=0)


def test_norm_grad_of_a_network_of_two_layers_by_hand() -> None:
    first, second = nn.Conv2d(1, 2, 1, bias=False), nn.Linear(2, 1, bias=False)
    first.weight.data = torch.tensor([3.0, 4.0]).view(2, 1, 1, 1)
    second.weight.data = torch.tensor([[-6.0, 8.0]])
    network = nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), second)
    image = torch.tensor([2.0, -1.0, 1.0, 0.0]).view(1, 1, 2, 2)
    # A_p = x_p · (3, 4) where x_p > 0, of norm 5 x_p; G_p = (-6, 8) / 4 cells, of norm 2.5
    (map_,) = CAMExtractor(network, ["1"], "norm_grad")(image, [[0]])["1"]
    assert map_.flatten().tolist() == pytest.approx([25.0, 0.0, 12.5, 0.0])
