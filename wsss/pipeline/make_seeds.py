"""Step `seeds`: localisation maps of the train images' present classes, one small file an image, and their scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from wsss.cam import cam, fuse, layer_cam, merge_flips, normalize, resize, strided_size, sum_scales, with_flips
from wsss.data import VOCDataset, eval_transform, read_mask, size_loader
from wsss.errors import InputError
from wsss.masks import dataset_threshold
from wsss.metrics import Sweep, ThresholdCounter
from wsss.models import Classifier, ReCAMClassifier, fold_batch_norm, map_weight
from wsss.pipeline.config import CamConfig
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.run import Run, Step
from wsss.pipeline.tables import write_csv, write_iou
from wsss.pipeline.training import autocast, device_of, num_workers, prepare, show_progress
from wsss.seeds import load_seeds, resize_maps, save_seeds

# Kind of map drawn from a ReCAM network -> the weight it is drawn with, see `map_weight`.
RECAM_KINDS = {"recam": "w1_relu_w2", "recam_w1w2": "w1w2", "recam_fc1": "fc1", "recam_fc2": "fc2"}


def seeds_step(run: Run) -> Step:
    """The step's identity: its options and the networks."""
    inputs = ["classifier"]
    inputs += ["recam"] if run.config.recam.enabled else []
    inputs += ["control"] if run.config.recam.enabled and run.config.recam.control else []
    settings = asdict(run.config.cam)
    del settings["batch_size"]
    return run.step("seeds", {"cam": settings}, inputs)


def make_seeds(run: Run) -> Step:
    """Export maps of every kind asked for, average the seed's kinds, and score each where there is truth."""
    kinds_by_network = _kinds_by_network(run)
    step = seeds_step(run)
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    with step.working():
        for network, kinds in kinds_by_network.items():
            _export(run, step, network, kinds)
        _average(run, step)
        threshold = seed_threshold(run)
        if run.has_train_truth:
            _score(run, step, threshold)
    return step


def seed_kinds(run: Run) -> list[str]:
    """Kinds whose average is the seed; without a ReCAM network its kinds fall out, and CAM stands in."""
    kinds = [k for k in run.config.cam.seed if run.config.recam.enabled or k not in RECAM_KINDS]
    if len(kinds) < len(run.config.cam.seed) and "cam" not in kinds:
        kinds.insert(0, "cam")
    return kinds


def seed_protocol(run: Run) -> dict[str, object]:
    """How the seeds were drawn, for the figures of seeds and of what is made from them."""
    config = run.config.cam
    weights = Counter(seed_kinds(run))
    layer_scales = {"layer_scales": list(config.layer_scales)} if "layer_cam" in weights else {}
    maps = " + ".join(kind if n == 1 else f"{n} {kind}" for kind, n in weights.items())
    return {"scales": list(config.scales), **layer_scales, "flip": config.flip, "maps": maps}


def seed_threshold(run: Run) -> float:
    """Background threshold of the seeds chosen without truth."""
    paths = (run.folder / "seeds" / f"{image_id}.npz" for image_id in run.train_ids)
    return dataset_threshold(seeds.maps.max(axis=0) for seeds in map(load_seeds, paths) if len(seeds.classes))


def _kinds_by_network(run: Run) -> dict[str, list[str]]:
    """Which network (step) draws which kinds."""
    config = run.config
    kinds = dict.fromkeys([*seed_kinds(run), *config.cam.extra])
    plan: dict[str, list[str]] = {"classifier": [k for k in kinds if k == "cam"]}
    if config.recam.enabled:
        plan["recam"] = [k for k in kinds if k in RECAM_KINDS or k == "layer_cam"]
        plan["control"] = ["control"] if config.recam.control else []
    else:
        plan["classifier"] += [k for k in kinds if k == "layer_cam"]
    return {network: drawn for network, drawn in plan.items() if drawn}


def _export(run: Run, step: Step, network_name: str, kinds: Sequence[str]) -> None:
    """Draw the maps of one network for the images that do not have them yet."""
    folders = {kind: step.folder / "maps" / kind for kind in kinds}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in run.train_ids if not all((folder / f"{i}.npz").exists() for folder in folders.values())]
    if not missing:
        return
    config = run.config
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    dataset = VOCDataset(
        run.data, missing, torch.stack([rows[i] for i in missing]), transform=eval_transform(config.cam.resize_long)
    )
    sizes = _original_sizes(dataset)
    network = load_classifier(run.folder / network_name / "model.pt").to(device_of(config)).eval().requires_grad_(False)
    _check_stages(network, config.cam)
    network.backbone = fold_batch_norm(network.backbone, torch.rand(1, 3, 64, 64, device=device_of(config)))
    loader = size_loader(dataset, batch_size=config.cam.batch_size, num_workers=num_workers(config))
    for batch in track(loader, f"maps of {network_name}", disable=not show_progress(config), transient=True):
        present = [labels.nonzero()[:, 0].tolist() for labels in batch.labels]
        with autocast(config):
            maps = draw_maps(network, batch.images.to(device_of(config)), present, kinds, config.cam)
        for kind, per_image in maps.items():
            for image_id, classes, image_maps in zip(batch.ids, present, per_image, strict=True):
                save_seeds(folders[kind] / f"{image_id}.npz", image_maps, classes, sizes[image_id])


def _check_stages(network: Classifier, config: CamConfig) -> None:
    known = list(network.backbone.channels)
    unknown = sorted({*config.layer_stages, *config.tanh_stages} - {*known})
    if unknown:
        raise InputError(f"cam.layer_stages: this backbone has no {unknown[0]}; expected some of {', '.join(known)}")


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
        config: scales, flip, stages.

    Returns:
        kind -> list over images of (K_b, h, w) in [0, 1].
    """
    size = strided_size((images.shape[2], images.shape[3]))
    weights = {kind: _kind_weight(network, kind) for kind in kinds if kind != "layer_cam"}
    collected: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    layer_scales = config.layer_scales if "layer_cam" in kinds else []
    for scale in sorted({*config.scales, *layer_scales}):
        scaled = _rescale(images, scale)
        batch = with_flips(scaled) if config.flip else scaled
        merge = merge_flips if config.flip else torch.nn.Identity()
        if scale in layer_scales:
            with torch.enable_grad():
                stages = network.backbone(batch, grad_from=min(config.layer_stages))
            maps = _layer_maps(network, stages, present, config, size, flip=config.flip)
            collected["layer_cam"].append(merge(maps))
            features = stages[network.backbone.last_stage].detach()
        else:
            with torch.no_grad():
                features = network.features(batch)
        if scale in config.scales:
            for kind, weight in weights.items():
                collected[kind].append(merge(cam(features.float(), weight)))
    result: dict[str, list[Tensor]] = {}
    for kind, maps_of_scales in collected.items():
        summed = sum_scales(maps_of_scales, size)  # (B, N or K, h, w)
        picked = [m[: len(c)] if kind == "layer_cam" else m[list(c)] for m, c in zip(summed, present, strict=True)]
        result[kind] = [normalize(m) for m in picked]
    return result


def _kind_weight(network: Classifier, kind: str) -> Tensor:
    if kind in ("cam", "control"):
        return network.fc1_weight
    assert isinstance(network, ReCAMClassifier)
    return map_weight(network.fc1_weight, network.fc2_weight, RECAM_KINDS[kind])  # type: ignore[arg-type]  # from the table


def _layer_maps(
    network: Classifier,
    stages: dict[str, Tensor],
    present: Sequence[Sequence[int]],
    config: CamConfig,
    size: tuple[int, int],
    *,
    flip: bool,
) -> Tensor:
    """LayerCAM of the present classes, stages fused: (B or 2B, K, h, w), K the most classes an image has, zero beyond.

    The score GAP(f)·W_k has the gradient W_k / hw at the last stage, the same at each cell: the backward pass starts
    there and ends at the shallowest stage asked for. One pass serves the k-th class of every image.
    """
    names = [name for name in stages if name in config.layer_stages]
    last = stages[network.backbone.last_stage]
    weight = network.fc1_weight / (last.shape[2] * last.shape[3])  # (N, C)
    rows = list(present) * (2 if flip else 1)
    maps = []
    num_maps = max((len(classes) for classes in rows), default=0)
    for k in range(num_maps):
        has_class = torch.tensor([len(classes) > k for classes in rows], device=last.device)
        index = torch.tensor([classes[k] if len(classes) > k else 0 for classes in rows], device=last.device)
        score_gradient = (weight[index] * has_class[:, None])[:, :, None, None].expand_as(last)  # (B, C, h, w)
        inputs = [stages[name] for name in names]
        gradients = torch.autograd.grad(last, inputs, score_gradient.to(last.dtype), retain_graph=k + 1 < num_maps)
        per_stage = [layer_cam(a.detach().float(), g.float()) for a, g in zip(inputs, gradients, strict=True)]
        scaled = [name in config.tanh_stages for name in names]
        maps.append(fuse(per_stage, size, mode=config.fusion, scaled=scaled))  # type: ignore[arg-type]  # checked in fuse
    if not maps:
        return last.new_zeros(len(rows), 0, *size)
    return torch.stack(maps, dim=1)


def _rescale(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images.float() / 255
    height, width = images.shape[-2:]
    return resize(images.float() / 255, (max(round(height * scale), 1), max(round(width * scale), 1)))


def _original_sizes(dataset: VOCDataset) -> dict[str, tuple[int, int]]:
    sizes = {}
    for image_id in dataset.ids:
        with Image.open(dataset.description.image_path(image_id)) as image:
            sizes[image_id] = (image.height, image.width)
    return sizes


def _average(run: Run, step: Step) -> None:
    """The seed: mean of its kinds' normalised maps, divided by its maximum again."""
    for image_id in run.train_ids:
        kinds = [load_seeds(step.folder / "maps" / kind / f"{image_id}.npz") for kind in seed_kinds(run)]
        mean = torch.from_numpy(np.mean([seeds.maps for seeds in kinds], axis=0))
        save_seeds(step.folder / f"{image_id}.npz", normalize(mean), kinds[0].classes.tolist(), kinds[0].size)


def _score(run: Run, step: Step, threshold: float) -> None:
    kinds = {"seed": step.folder} | {p.name: p for p in sorted((step.folder / "maps").iterdir())}
    thresholds = np.arange(run.config.cam.thresholds) / run.config.cam.thresholds
    config = run.config.cam
    common = {"split": run.config.data.score or run.config.data.train, "images": len(run.score_ids), "crf": "none"}
    rows: list[tuple[str, float, float]] = []
    truths = {i: read_mask(run.data.mask_path(i)) for i in run.score_ids}
    for kind, folder in kinds.items():
        sweep = _sweep(folder, truths, run.data.num_classes + 1, [*thresholds, threshold])
        rows += [(kind, float(t), float(m) * 100) for t, m in zip(sweep.thresholds, sweep.miou, strict=True)]
        scales = config.layer_scales if kind == "layer_cam" else config.scales
        protocol = {**common, "scales": list(scales), "flip": config.flip}
        key = "seeds/oracle_miou" if kind == "seed" else f"seeds/{kind}/miou"
        if kind == "seed":
            protocol |= seed_protocol(run)
            chosen = int(np.flatnonzero(sweep.thresholds == threshold)[0])
            source = "mean Otsu, no truth"
            step.add_figure(
                "seeds/miou", 100 * sweep.miou[chosen], threshold=round(threshold, 4), threshold_from=source, **protocol
            )
            write_iou(step.folder / "iou.csv", run, sweep.iou[chosen])
        best = round(float(sweep.thresholds[sweep.best]), 4)
        step.add_figure(key, 100 * sweep.miou.max(), threshold=best, threshold_from="oracle", **protocol)
    write_csv(step.folder / "curve.csv", ["kind", "threshold", "miou"], rows)


def _sweep(folder: Path, truths: dict[str, NDArray[np.uint8]], num_labels: int, thresholds: Sequence[float]) -> Sweep:
    counter = ThresholdCounter(sorted(set(thresholds)), num_labels)
    for image_id, truth in truths.items():
        seeds = load_seeds(folder / f"{image_id}.npz")
        counter.update(resize_maps(seeds.maps, seeds.size), seeds.classes, truth)
    return counter.compute()
