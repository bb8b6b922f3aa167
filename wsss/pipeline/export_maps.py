"""Step `maps`: maps before fusion, which runs that differ in stages or fusion share.

Backward passes are what maps cost; joining stages and adding scales is cheap. With `cam.drawn_stages` this step keeps
each stage's map of each scale, image and mirror image, and the step `seeds` fuses them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from wsss.cam import normalize, strided_size
from wsss.models import Classifier
from wsss.pipeline.config import CamConfig
from wsss.pipeline.drawing import (
    Drawing,
    Sizes,
    add_seconds,
    check_disk,
    draw_images,
    drawn_kinds,
    kinds_by_network,
    num_present,
    original_sizes,
    resized,
    seed_bytes,
    seed_ids,
)
from wsss.pipeline.maps import STAGE_KINDS, WEIGHT_KINDS, draw_unfused, fuse_maps, kept_kinds
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.processes import on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.training import prepare
from wsss.seeds import load_seeds, load_stage_maps, save_seeds, save_stage_maps

# Options that maps before fusion depend on, besides `drawn_stages` and their kinds.
OPTIONS = ("scales", "layer_scales", "flip", "resize_long", "target", "grad_cam_pp_eps", "adv", "limit_images")
StageTensors = dict[float, dict[str, Tensor]]  # of one image: scale -> stage -> (1 or 2, K, h_i, w_i)


def maps_step(run: Run) -> Step:
    """The step's identity: the networks that draw, and what maps depend on before they are fused."""
    config = asdict(run.config.cam)
    kinds = sorted(drawn_kinds(run))
    settings = {option: config[option] for option in OPTIONS}
    settings |= {"kinds": kinds, "drawn_stages": sorted(config["drawn_stages"])}
    outputs = [f"{kind}/{image_id}.npz" for kind in kinds for image_id in seed_ids(run)]
    return run.step("maps", {"cam": settings}, list(kinds_by_network(run)), outputs)


def export_maps(run: Run) -> Step:
    """Write `maps/<kind>/<id>.npz`: each stage's maps, and of kinds of the last stage the finished one."""
    step = maps_step(run)
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    sizes = original_sizes(run, seed_ids(run))

    def draw(
        network: Classifier, images: Tensor, present: Sequence[Sequence[int]], kinds: Sequence[str]
    ) -> Mapping[str, Sequence[Tensor | StageTensors]]:
        return draw_exported(network, images, present, kinds, run.config.cam)

    drawing = Drawing(draw, save_image, lambda kinds: {kind: step.folder / kind for kind in kinds})
    with step.working():
        needed = exported_bytes(run, sizes) + seed_bytes(run, sizes)
        on_first(lambda: check_disk(step, "maps and seeds", needed, len(sizes)))
        add_seconds(run, step, draw_images(run, step, sizes, drawing))
    return step


def draw_exported(
    network: Classifier, images: Tensor, present: Sequence[Sequence[int]], kinds: Sequence[str], config: CamConfig
) -> dict[str, list[Tensor] | list[StageTensors]]:
    """Maps of images of one size, before fusion where there is any.

    Args:
        network: in evaluation mode, without parameter gradients.
        images: (B, 3, H, W) uint8.
        present: present classes of each image.
        kinds: see `CamConfig.seed`.
        config: scales, flip, drawn_stages, target.

    Returns:
        Kind of the last stage -> list over images of finished maps (K_b, h, w); kind of any stages -> list over images
        of scale -> stage -> (1, K_b, h_i, w_i), with flip (2, K_b, h_i, w_i), each divided by its maximum.
    """
    assert config.drawn_stages is not None
    drawn = list(draw_unfused(network, images, present, kinds, config, config.drawn_stages))
    last = [{kind: maps for kind, maps in of_scale.items() if kind in WEIGHT_KINDS} for _, of_scale in drawn]
    finished = fuse_maps(last, strided_size((images.shape[2], images.shape[3])), present, config)

    def of_image(kind: str, index: int) -> StageTensors:
        return {
            scale: {
                stage: normalize(maps.unflatten(0, (-1, len(images)))[:, index, : len(present[index])])
                for stage, maps in of_scale[kind].items()
            }
            for scale, of_scale in drawn
            if kind in of_scale
        }

    stage_kinds = [kind for kind in kinds if kind in STAGE_KINDS]
    return {**finished, **{kind: [of_image(kind, index) for index in range(len(images))] for kind in stage_kinds}}


def fuse_exported(run: Run, folder: Path) -> None:
    """Write `<folder>/<kind>/<id>.npz` from the step's maps, for images that have not got theirs yet."""
    for kind in drawn_kinds(run):
        for image_id in seed_ids(run):
            paths = {kept: folder / kept / f"{image_id}.npz" for kept in kept_kinds([kind], run.config.cam)}
            if all(path.exists() for path in paths.values()):
                continue
            source = run.folder / "maps" / kind / f"{image_id}.npz"
            maps, classes, size = fuse_image(source, kind, run.config.cam)
            for kept, path in paths.items():
                save_seeds(path, maps[kept], classes, size)


def fuse_image(path: Path, kind: str, config: CamConfig) -> tuple[dict[str, Tensor], list[int], tuple[int, int]]:
    """What `save_image` has kept of a kind's maps, fused: kept kind -> (K, h, w), the classes, the image's size."""
    if kind in WEIGHT_KINDS:
        seeds = load_seeds(path)
        return {kind: torch.from_numpy(seeds.maps)}, seeds.classes.tolist(), seeds.size
    stored = load_stage_maps(path, sorted({*config.layer_scales}), config.stages)
    classes = stored.classes.tolist()
    drawn = ({kind: {s: torch.from_numpy(m) for s, m in maps.items()}} for maps in stored.maps.values())
    fused = fuse_maps(drawn, strided_size(resized(stored.size, config.resize_long)), [classes], config)
    return {kept: maps for kept, (maps,) in fused.items()}, classes, stored.size


def save_image(path: Path, maps: Tensor | StageTensors, classes: Sequence[int], size: Sequence[int]) -> None:
    """Keep what `draw_exported` has drawn of one image and kind."""
    if isinstance(maps, Tensor):
        save_seeds(path, maps, classes, size)
    else:
        save_stage_maps(path, maps, classes, size)


def exported_bytes(run: Run, sizes: Sizes) -> float:
    """What the step's files take, uncompressed."""
    config = run.config.cam
    kinds = drawn_kinds(run)
    num_stage_kinds = sum(kind in STAGE_KINDS for kind in kinds)
    backbone = load_classifier(run.folder / next(iter(kinds_by_network(run))) / "model.pt").backbone
    strides = [stride for stage, stride in backbone.strides.items() if stage in (config.drawn_stages or ())]
    present = num_present(run, sizes)
    cells = 0
    for image_id, size in sizes.items():
        seen = resized(size, config.resize_long)
        at_stages = sum(
            ceil(round(seen[0] * scale) / stride) * ceil(round(seen[1] * scale) / stride)
            for scale in {*config.layer_scales}
            for stride in strides
        )
        height, width = strided_size(seen)
        finished = (len(kinds) - num_stage_kinds) * height * width
        cells += present[image_id] * (finished + num_stage_kinds * (2 if config.flip else 1) * at_stages)
    return 2 * cells  # float16
