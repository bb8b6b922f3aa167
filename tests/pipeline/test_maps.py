"""Maps drawn from a network against their definitions."""

import pytest
import torch
from torch import Tensor

from wsss.cam import CAMExtractor, cam, climb, excitation_backprop, fuse, layer_cam, normalize, resize
from wsss.models import Classifier, ReCAMClassifier, build_backbone, map_weight
from wsss.pipeline.config import AdvConfig, CamConfig
from wsss.pipeline.maps import STAGE_KINDS, draw_maps, draw_unfused, fuse_maps, kept_kinds


@pytest.fixture
def network() -> ReCAMClassifier:
    torch.manual_seed(0)
    network = ReCAMClassifier(build_backbone("resnet18", weights="none", output_stride=16), 4, fc2_init="default")
    return network.eval().requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, 3, 64, 48), dtype=torch.uint8, generator=generator)


def config(**options: object) -> CamConfig:
    plain = {"scales": [1.0], "flip": False, "layer_scales": [1.0], "stages": ["stage3", "stage4", "stage5"]}
    return CamConfig(**{**plain, **options})  # type: ignore[arg-type]


def naive_layer_cam(network: Classifier, image: Tensor, index: int) -> Tensor:
    """LayerCAM of one class by a full backward pass, stages 3 to 5, mean."""
    network.requires_grad_(True)
    stages = network.backbone(image[None])
    logit = network.fc1(stages["stage5"].mean(dim=(2, 3), keepdim=True))[0, index, 0, 0]
    wanted = [stages[f"stage{i}"] for i in (3, 4, 5)]
    gradients = torch.autograd.grad(logit, wanted)
    network.requires_grad_(False)
    return fuse([layer_cam(a.detach(), g) for a, g in zip(wanted, gradients, strict=True)], (16, 12), mode="mean")[0]


def test_layer_cam_of_every_present_class_equals_a_full_backward_pass(network: ReCAMClassifier, images: Tensor) -> None:
    present = [[0, 2], [3], []]
    maps = draw_maps(network, images, present, ["layer_cam"], config())["layer_cam"]
    assert [m.shape for m in maps] == [(2, 16, 12), (1, 16, 12), (0, 16, 12)]
    for image, classes, drawn in zip(images, present, maps, strict=True):
        for index, one in zip(classes, drawn, strict=True):
            torch.testing.assert_close(one, normalize(naive_layer_cam(network, image, index)), rtol=1e-4, atol=1e-5)


def test_each_kind_is_a_cam_of_its_own_weight(network: ReCAMClassifier, images: Tensor) -> None:
    kinds = {"cam": "fc1", "recam": "w1_relu_w2", "recam_w1w2": "w1w2", "recam_fc2": "fc2"}
    maps = draw_maps(network, images[:1], [[1, 3]], list(kinds), config())
    features = network.features(images[:1])
    for kind, weight in kinds.items():
        raw = cam(features, map_weight(network.fc1_weight, network.fc2_weight, weight)[[1, 3]])  # type: ignore[arg-type]
        torch.testing.assert_close(maps[kind][0], normalize(resize(raw, (16, 12)))[0], rtol=1e-4, atol=1e-5)


def test_a_batch_gives_what_its_images_give_alone(network: ReCAMClassifier, images: Tensor) -> None:
    present, kinds = [[0], [1, 2], [2, 3]], ["cam", "layer_cam"]
    options = config(flip=True, scales=[0.5, 1.0], layer_scales=[1.0, 1.5])
    together = draw_maps(network, images, present, kinds, options)
    for kind in kinds:
        for i, classes in enumerate(present):
            alone = draw_maps(network, images[i : i + 1], [classes], [kind], options)[kind][0]
            torch.testing.assert_close(together[kind][i], alone, rtol=1e-4, atol=1e-4)


def test_with_flip_the_maps_of_a_mirrored_image_are_mirrored(network: ReCAMClassifier, images: Tensor) -> None:
    options = config(flip=True)
    straight = draw_maps(network, images[:1], [[1]], ["cam", "layer_cam"], options)
    mirrored = draw_maps(network, images[:1].flip(-1), [[1]], ["cam", "layer_cam"], options)
    for kind, maps in straight.items():
        torch.testing.assert_close(mirrored[kind][0], maps[0].flip(-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", ["fc1", "recam", "recam_w1w2"])
def test_grad_cam_of_the_last_stage_is_the_targets_own_map_over_the_cells(
    network: ReCAMClassifier, images: Tensor, target: str
) -> None:
    kind = {"fc1": "cam"}.get(target, target)
    options = config(stages=["stage5"], target=target)
    maps = draw_maps(network, images, [[0, 2], [3], [1]], [kind, "grad_cam"], options)
    for pooled, gradient in zip(maps[kind], maps["grad_cam"], strict=True):
        torch.testing.assert_close(gradient, pooled, rtol=1e-3, atol=1e-4)


def test_maps_of_a_max_pooled_classifier_explain_its_own_score(images: Tensor) -> None:
    torch.manual_seed(0)
    pooled = Classifier(build_backbone("resnet18", weights="none", output_stride=16), 4, pooling="gmp").eval()
    pooled.requires_grad_(False)
    drawn = draw_maps(pooled, images, [[1], [2], [3]], ["layer_cam"], config(stages=["stage4"]))["layer_cam"]
    expected = CAMExtractor(pooled, ["backbone.stages.stage4"])(images.float() / 255, [[1], [2], [3]])
    for one, raw in zip(drawn, expected["backbone.stages.stage4"], strict=True):
        torch.testing.assert_close(one, normalize(fuse([raw], (16, 12))), rtol=1e-3, atol=1e-4)


def test_layer_cam_of_recams_score_is_recam_at_any_stage(network: ReCAMClassifier, images: Tensor) -> None:
    drawn = {
        target: draw_maps(network, images, [[1], [2], [3]], ["layer_cam"], config(stages=["stage3"], target=target))
        for target in ("fc1", "recam")
    }
    weight = map_weight(network.fc1_weight, network.fc2_weight, "w1_relu_w2")
    extractor = CAMExtractor(network.backbone, ["stage3"], score=lambda s: s["stage5"].mean(dim=(2, 3)) @ weight.T)
    expected = extractor(images, [[1], [2], [3]])["stage3"]
    for image in range(3):
        assert not torch.allclose(drawn["fc1"]["layer_cam"][image], drawn["recam"]["layer_cam"][image], atol=0.05)
        fused = normalize(fuse([expected[image]], (16, 12)))
        torch.testing.assert_close(drawn["recam"]["layer_cam"][image], fused, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", STAGE_KINDS)
def test_every_method_draws_fused_and_single_stages(network: ReCAMClassifier, images: Tensor, kind: str) -> None:
    options = config(stages=["stage4", "stage5"], keep_stages=True, flip=True)
    maps = draw_maps(network, images[:2], [[0, 3], []], [kind], options)
    assert {*maps} == {*kept_kinds([kind], options)}
    for drawn in maps.values():
        assert [m.shape for m in drawn] == [(2, 16, 12), (0, 16, 12)]
        assert ((drawn[0] >= 0) & (drawn[0] <= 1)).all()
        assert drawn[0].amax() == 1
    stages = [normalize(maps[f"{kind}_{stage}"][0]) for stage in options.stages]
    assert not torch.allclose(stages[0], stages[1], atol=0.05)


def test_weights_belong_to_the_stages_in_the_order_given(network: ReCAMClassifier, images: Tensor) -> None:
    present = [[0], [1, 2], [3]]
    straight = config(stages=["stage3", "stage5"], stage_weights=[1.0, 9.0])
    turned = config(stages=["stage5", "stage3"], stage_weights=[9.0, 1.0])
    drawn = [draw_maps(network, images, present, ["layer_cam"], options)["layer_cam"] for options in (straight, turned)]
    for first, second in zip(*drawn, strict=True):
        torch.testing.assert_close(first, second)


def test_weights_of_stages_weigh(network: ReCAMClassifier, images: Tensor) -> None:
    alone = draw_maps(network, images, [[1]] * 3, ["layer_cam"], config(stages=["stage5"]))["layer_cam"]
    options = config(stages=["stage4", "stage5"], stage_weights=[0.0, 2.0])
    weighted = draw_maps(network, images, [[1]] * 3, ["layer_cam"], options)["layer_cam"]
    torch.testing.assert_close(weighted, alone)


def test_stages_drawn_beyond_those_fused_change_nothing(network: ReCAMClassifier, images: Tensor) -> None:
    present, kinds = [[0], [1, 2], []], ["layer_cam", "cam"]
    options = config(stages=["stage5", "stage3"], stage_weights=[1.0, 2.0], tanh_stages=["stage3"], flip=True)
    every = ["stage2", "stage3", "stage4", "stage5"]
    drawn = [maps for _, maps in draw_unfused(network, images, present, kinds, options, every)]
    assert [*drawn[0]["layer_cam"]] == every
    fused = fuse_maps(drawn, (16, 12), present, options)
    for kind, direct in draw_maps(network, images, present, kinds, options).items():
        for one, other in zip(fused[kind], direct, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


# --- AdvCAM ---


def climbing(step_size: float = 100.0, **options: object) -> CamConfig:
    return config(adv=AdvConfig(steps=2, step_size=step_size), stages=["stage4", "stage5"], **options)


@pytest.mark.parametrize(("target", "step_size"), [("fc1", 100.0), ("recam", 1000.0)])
def test_adv_cam_is_the_sum_of_the_maps_of_the_climb(
    network: ReCAMClassifier, images: Tensor, target: str, step_size: float
) -> None:
    options = climbing(step_size, target=target)
    maps = draw_maps(network, images[:1], [[0, 2]], ["cam", "recam", "layer_cam"], options)
    w1, std = network.fc1_weight, network.backbone.std
    of_recam = map_weight(w1, network.fc2_weight, "w1_relu_w2")
    weight = of_recam if target == "recam" else w1

    def scores(stages: dict[str, Tensor]) -> Tensor:
        return stages["stage5"].mean(dim=(2, 3)) @ weight.T

    stages = ("stages.stage4", "stages.stage5")
    for slot, index in enumerate((0, 2)):

        def evidence(x: Tensor, index: int = index) -> tuple[Tensor, Tensor]:
            features = network.features(x)
            cells = features.shape[2] * features.shape[3]
            return scores(network.backbone(x)), cam(features, weight[[index]])[:, 0] / cells

        climbed = [*climb(images[:1] / 255, torch.tensor([index]), evidence, steps=2, step_size=step_size * std**2)]
        assert (climbed[2] - climbed[0]).abs().max() > 0.1
        kinds = {"cam": w1, "recam": of_recam}
        for kind, of_kind in kinds.items():
            raw = sum(cam(network.features(x), of_kind[[index]])[0, 0] for x in climbed)
            torch.testing.assert_close(maps[kind][0][slot], normalize(resize(raw, (16, 12))), rtol=1e-3, atol=1e-4)
        extractor = CAMExtractor(network.backbone, stages, "layer_cam", score=scores)
        drawn = [extractor(x, [[index]]) for x in climbed]
        fused = fuse([sum(one[stage][0][0] for one in drawn) for stage in stages], (16, 12), mode="mean")
        torch.testing.assert_close(maps["layer_cam"][0][slot], normalize(fused), rtol=1e-3, atol=1e-4)


def test_images_climb_alone_for_each_of_their_classes(network: ReCAMClassifier, images: Tensor) -> None:
    options = climbing(flip=True, scales=[0.5, 1.0], target="recam")
    present = [[1, 0], [], [3]]
    together = draw_maps(network, images, present, ["recam"], options)["recam"]
    assert [m.shape for m in together] == [(2, 16, 12), (0, 16, 12), (1, 16, 12)]
    alone = draw_maps(network, images[2:], [[3]], ["recam"], options)["recam"][0]
    torch.testing.assert_close(together[2], alone, rtol=1e-3, atol=1e-3)
    alone = draw_maps(network, images[:1], [[0]], ["recam"], options)["recam"][0]
    torch.testing.assert_close(together[0][1:], alone, rtol=1e-3, atol=1e-3)
    without = draw_maps(network, images, present, ["recam"], config(flip=True, scales=[0.5, 1.0]))["recam"]
    assert not torch.allclose(together[2], without[2], rtol=0, atol=0.002)
    assert draw_maps(network, images[:1], [[]], ["recam"], options)["recam"][0].shape == (0, 16, 12)


# --- c-MWP ---


@pytest.mark.parametrize("target", ["fc1", "recam"])
def test_c_mwp_is_excitation_backprop_of_the_explained_score(
    network: ReCAMClassifier, images: Tensor, target: str
) -> None:
    options = config(stages=["stage4", "stage5"], keep_stages=True, target=target)
    maps = draw_maps(network, images, [[0, 2], [], [3]], ["c_mwp"], options)
    kind = "w1_relu_w2" if target == "recam" else "fc1"
    weight = network.fc1_weight if kind == "fc1" else map_weight(network.fc1_weight, network.fc2_weight, kind)

    def score(stages: dict[str, Tensor]) -> Tensor:
        return stages["stage5"].mean(dim=(2, 3)) @ weight.T

    for stage in options.stages:
        (alone,) = excitation_backprop(network.backbone, images[2:] / 255, [[3]], f"stages.{stage}", score=score)
        expected = normalize(resize(alone[None], (16, 12)))[0]
        torch.testing.assert_close(maps[f"c_mwp_{stage}"][2], expected, rtol=1e-3, atol=1e-3)
