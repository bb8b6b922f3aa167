"""Maps of a classifier for a batch of images: every kind, stage and scale in one forward pass each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wsss.cam import (
    GRADIENT_METHODS,
    METHODS,
    add_scales,
    at_scales,
    cam,
    class_maps,
    climb,
    excitation_backprop,
    fuse,
    normalize,
    resize,
    score_cam_maps,
    strided_size,
)
from wsss.errors import InputError
from wsss.models import Backbone, Classifier, ReCAMClassifier, map_weight
from wsss.pipeline.config import CamConfig

# Kind of map that is a weighted sum of the last stage's features -> which weight, see `map_weight`.
WEIGHT_KINDS = {
    "cam": "fc1",
    "control": "fc1",
    "recam": "w1_relu_w2",
    "recam_w1w2": "w1w2",
    "recam_fc1": "fc1",
    "recam_fc2": "fc2",
}
# Kinds drawn from any stages, whose maps are fused.
STAGE_KINDS = (*(method for method in METHODS if method != "cam"), "c_mwp")
# Score that the stage kinds explain -> its weight.
TARGETS = {"fc1": "fc1", "recam": "w1_relu_w2", "recam_w1w2": "w1w2"}


# Maps of a batch at one scale before fusion: kind -> stage -> (B, K, h_i, w_i), (2B, K, h_i, w_i) with mirror images.
Unfused = dict[str, dict[str, Tensor]]


def draw_maps(
    network: Classifier, images: Tensor, present: Sequence[Sequence[int]], kinds: Sequence[str], config: CamConfig
) -> dict[str, list[Tensor]]:
    """Normalised multi-scale maps of images of one size.

    Each scale's maps of image and mirror image are added after ReLU, resized to stride 4, summed over scales and
    divided by their maximum, as published (IRN); one forward pass serves all kinds.

    Args:
        network: in evaluation mode, without parameter gradients.
        images: (B, 3, H, W) uint8.
        present: present classes of each image.
        kinds: see `CamConfig.seed`.
        config: scales, flip, stages, fusion, target, adv.

    Returns:
        kind -> list over images of (K_b, h, w) in [0, 1]; with `config.keep_stages` also `<kind>_<stage>`.
    """
    drawn = (of_scale for _, of_scale in draw_unfused(network, images, present, kinds, config, config.stages))
    return fuse_maps(drawn, strided_size((images.shape[2], images.shape[3])), present, config)


def draw_unfused(
    network: Classifier,
    images: Tensor,
    present: Sequence[Sequence[int]],
    kinds: Sequence[str],
    config: CamConfig,
    stages: Sequence[str],
) -> Iterator[tuple[float, Unfused]]:
    """The first half of `draw_maps`: each scale and its maps after ReLU, of each of `stages` for the stage kinds."""
    weights = {kind: _weight(network, WEIGHT_KINDS[kind]) for kind in kinds if kind in WEIGHT_KINDS}
    stage_kinds = [kind for kind in kinds if kind in STAGE_KINDS]
    scales = config.scales if weights else []
    layer_scales = config.layer_scales if stage_kinds else []
    rows = [*present, *present] if config.flip else present
    last = network.backbone.last_stage

    def draw(batch: Tensor, rows: Sequence[Sequence[int]], scale: float) -> Unfused:
        drawn: Unfused = {}
        if scale in layer_scales:
            features, drawn = _stage_maps(network, batch, rows, stage_kinds, config, stages)
        else:
            with torch.no_grad():
                features = network.features(batch)
        if scale in scales:
            drawn |= {kind: {last: _present(cam(features.float(), weight), rows)} for kind, weight in weights.items()}
        return drawn

    for scale, batch in at_scales(images.float() / 255, scales=sorted({*scales, *layer_scales}), flip=config.flip):
        if config.adv.steps:
            yield scale, _climbed(network, batch, rows, partial(draw, scale=scale), config)
        else:
            yield scale, draw(batch, rows, scale)


def fuse_maps(
    drawn: Iterable[Mapping[str, Mapping[str, Tensor]]],
    size: tuple[int, int],
    present: Sequence[Sequence[int]],
    config: CamConfig,
) -> dict[str, list[Tensor]]:
    """The second half of `draw_maps`: join the stages of each scale, add the scales.

    Args:
        drawn: an `Unfused` for each scale; stages beyond `config.stages` are passed over, and each map may have been
            divided by its maximum before.
        size: cells of the maps at stride 4, (h, w).
        present: present classes of each image.
        config: flip, stages, fusion.

    Returns:
        As `draw_maps`.
    """
    total = add_scales((_join_stages(of_scale, size, config) for of_scale in drawn), size, flip=config.flip)
    return {
        kind: [normalize(of_image[: len(c)]) for of_image, c in zip(maps, present, strict=True)]
        for kind, maps in total.items()
    }


def kept_kinds(kinds: Sequence[str], config: CamConfig) -> list[str]:
    """What `draw_maps` returns for these kinds."""
    stages = config.stages if config.keep_stages else []
    return [*kinds, *(f"{kind}_{stage}" for kind in kinds if kind in STAGE_KINDS for stage in stages)]


def _climbed(
    network: Classifier,
    batch: Tensor,
    rows: Sequence[Sequence[int]],
    draw: Callable[[Tensor, Sequence[Sequence[int]]], Unfused],
    config: CamConfig,
) -> Unfused:
    """AdvCAM: what `draw` returns of images and their classes, added up while each climbs for each of its classes."""
    weight = _weight(network, TARGETS[config.target]).float()
    places = [(image, k) for image, classes in enumerate(rows) for k in range(len(classes))]
    if not places:
        return draw(batch, rows)
    step_size = config.adv.step_size * network.backbone.std**2  # as the network divides images by it
    total: Unfused = {}
    for start in range(0, len(places), len(batch)):
        image, k = map(list, zip(*places[start : start + len(batch)], strict=True))
        classes = torch.tensor([rows[i][j] for i, j in zip(image, k, strict=True)], device=batch.device)

        def evidence(images: Tensor, own: Tensor = weight[classes]) -> tuple[Tensor, Tensor]:
            with torch.autocast(images.device.type, enabled=False):
                features = network.features(images).float()
                maps = torch.einsum("rc,rchw->rhw", own, features).relu()
                return network.pool(features) @ weight.T, maps / maps[0].numel()

        options = {"steps": config.adv.steps, "weight": config.adv.weight, "threshold": config.adv.threshold}
        for images in climb(batch[image], classes, evidence, step_size=step_size, **options):  # type: ignore[arg-type]
            for kind, of_stages in draw(images, classes[:, None].tolist()).items():
                for stage, maps in of_stages.items():  # (R, 1, h, w)
                    nothing = maps.new_zeros(len(batch), max(map(len, rows)), *maps.shape[2:])
                    total.setdefault(kind, {}).setdefault(stage, nothing)[image, k] += maps[:, 0]
    return total


def _stage_maps(
    network: Classifier,
    batch: Tensor,
    present: Sequence[Sequence[int]],
    kinds: Sequence[str],
    config: CamConfig,
    names: Sequence[str],
) -> tuple[Tensor, Unfused]:
    """Last stage's features, and kind -> stage -> maps (B, K, h, w) of the classes' scores, pooled f · w_k."""
    weight = _weight(network, TARGETS[config.target])
    last = network.backbone.last_stage

    def score(stages: dict[str, Tensor]) -> Tensor:
        with torch.autocast(batch.device.type, enabled=False):
            return network.pool(stages[last]) @ weight.T  # (B, N)

    with torch.enable_grad():
        stages = network.backbone(batch, grad_from=min(names))
        activations = {name: stages[name] for name in names}
        methods = {kind: GRADIENT_METHODS[kind] for kind in kinds if kind in GRADIENT_METHODS}
        if "grad_cam_pp" in methods:
            methods["grad_cam_pp"] = partial(methods["grad_cam_pp"], eps=config.grad_cam_pp_eps)
        maps = class_maps(score(stages), activations, present, methods) if methods else {}
    if "score_cam" in kinds:
        detached = {name: features.detach() for name, features in activations.items()}
        maps["score_cam"] = score_cam_maps(lambda masked: score(network.backbone(masked)), batch, detached, present)
    if "c_mwp" in kinds:
        maps["c_mwp"] = {name: winning_maps(network.backbone, batch, present, name, score) for name in names}
    return stages[last].detach(), maps


def winning_maps(
    backbone: Backbone,
    images: Tensor,
    present: Sequence[Sequence[int]],
    stage: str,
    score: Callable[[dict[str, Tensor]], Tensor],
) -> Tensor:
    """c-MWP of a stage's cells, in float32: (B, 3, H, W) -> (B, K, h, w), K the most classes an image has, zero beyond.

    Raises:
        InputError: if the network has a module for which excitation backprop knows no rule.
    """
    with torch.autocast(images.device.type, enabled=False):
        try:
            drawn = excitation_backprop(backbone, images, present, f"stages.{stage}", score=score)
        except ValueError as error:
            remedy = "take resnet50, vgg16 or efficientnet_lite0, or another kind"
            raise InputError(f"c_mwp cannot be drawn from this backbone ({error}); {remedy}") from None
    return pad_sequence(drawn, batch_first=True)


def _join_stages(
    drawn: Mapping[str, Mapping[str, Tensor]], size: tuple[int, int], config: CamConfig
) -> dict[str, Tensor]:
    """Kind -> maps of one scale: the stage kinds' fused, at stride 4, those of the last stage as they are."""
    joined: dict[str, Tensor] = {}
    for kind, of_stages in drawn.items():
        if kind in WEIGHT_KINDS:
            (joined[kind],) = of_stages.values()
            continue
        chosen = [of_stages[name] for name in config.stages]
        if config.keep_stages:
            alone = zip(config.stages, chosen, strict=True)
            joined |= {f"{kind}_{name}": normalize(resize(maps, size)) for name, maps in alone}
        joined[kind] = fuse(
            chosen,
            size,
            mode=config.fusion,  # type: ignore[arg-type]  # checked in fuse
            scaled=[name in config.tanh_stages for name in config.stages],
            gamma=config.gamma,
            weights=config.stage_weights,
        )
    return joined


def _present(maps: Tensor, present: Sequence[Sequence[int]]) -> Tensor:
    """Pick each image's classes: (B, N, h, w) -> (B, K, h, w), K the most classes an image has, zero beyond."""
    picked = maps.new_zeros(len(maps), max((len(c) for c in present), default=0), *maps.shape[2:])
    for row, of_image, classes in zip(picked, maps, present, strict=True):
        row[: len(classes)] = of_image[list(classes)]
    return picked


def _weight(network: Classifier, kind: str) -> Tensor:
    """A class weight (N, C), see `map_weight`."""
    if kind == "fc1":
        return network.fc1_weight
    assert isinstance(network, ReCAMClassifier)
    return map_weight(network.fc1_weight, network.fc2_weight, kind)  # type: ignore[arg-type]  # from the tables above
