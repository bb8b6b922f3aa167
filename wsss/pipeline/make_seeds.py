"""Step `seeds`: localisation maps of the train images' present classes, one small file an image, and their scores."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsss.cam import normalize, strided_size
from wsss.data import ImageDataset, eval_transform, image_size, read_mask, size_loader
from wsss.errors import InputError
from wsss.masks import dataset_threshold
from wsss.metrics import Sweep, ThresholdCounter
from wsss.models import Classifier, fold_batch_norm
from wsss.pipeline.config import CamConfig
from wsss.pipeline.maps import STAGE_KINDS, WEIGHT_KINDS, draw_maps, kept_kinds
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.run import Run, Step
from wsss.pipeline.tables import VOID_POLICY, write_iou, write_scores
from wsss.pipeline.training import num_workers, predict, prepare, process_rank
from wsss.seeds import load_seeds, resize_maps, save_seeds
from wsss.tasks.seeds import SeedTask

RECAM_KINDS = tuple(kind for kind in WEIGHT_KINDS if kind.startswith("recam"))
Sizes = dict[str, tuple[int, int]]  # image id -> its own height and width
log = logging.getLogger(__name__)


def seeds_step(run: Run) -> Step:
    """The step's identity: its options and the networks."""
    inputs = ["classifier"]
    inputs += ["recam"] if run.config.recam.enabled else []
    inputs += ["control"] if run.config.recam.enabled and run.config.recam.control else []
    settings = asdict(run.config.cam)
    del settings["batch_size"]
    folders = ["", *(f"maps/{kind}/" for kind in _all_kinds(run))]
    return run.step(
        "seeds", {"cam": settings}, inputs, [f"{folder}{i}.npz" for folder in folders for i in seed_ids(run)]
    )


def make_seeds(run: Run) -> Step:
    """Export maps of every kind asked for, average the seed's kinds, and score each where there is truth."""
    kinds_by_network = _kinds_by_network(run)
    step = seeds_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    run.check_data()
    prepare(run.config)
    sizes = original_sizes(run)
    if process_rank() > 0:  # a further process draws its share, and leaves the rest to the first
        for network, kinds in kinds_by_network.items():
            _export(run, step, network, kinds, sizes)
        return step
    with step.working():
        _check_disk(run, step, sizes)
        spent = [_export(run, step, network, kinds, sizes) for network, kinds in kinds_by_network.items()]
        if all(seconds is not None for seconds in spent):
            drawn = {"split": run.config.data.train, "images": len(seed_ids(run)), "crf": "none"}
            step.add_figure("seeds/seconds_per_image", sum(s for s in spent if s is not None), **drawn)
        _average(run, step)
        threshold = seed_threshold(run, step.folder)
        if run.has_train_truth:
            _score(run, step, threshold)
    return step


def seed_ids(run: Run) -> list[str]:
    """Train images that get seeds: all, unless `cam.limit_images` says otherwise."""
    return run.train_ids[: run.config.cam.limit_images]


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
    layer_scales = {"layer_scales": list(config.layer_scales)} if {*weights} & {*STAGE_KINDS} else {}
    maps = " + ".join(kind if n == 1 else f"{n} {kind}" for kind, n in weights.items())
    return {"scales": list(config.scales), **layer_scales, "flip": config.flip, "maps": maps}


def seed_threshold(run: Run, folder: Path) -> float:
    """Background threshold chosen without truth of the seeds, or of others made of them, in a folder."""
    paths = (folder / f"{image_id}.npz" for image_id in seed_ids(run))
    return dataset_threshold(seeds.maps.max(axis=0) for seeds in map(load_seeds, paths) if len(seeds.classes))


def _all_kinds(run: Run) -> list[str]:
    drawn = [kind for kinds in _kinds_by_network(run).values() for kind in kinds]
    return kept_kinds(drawn, run.config.cam)


def _kinds_by_network(run: Run) -> dict[str, list[str]]:
    """Which network (step) draws which kinds."""
    config = run.config
    kinds = dict.fromkeys([*seed_kinds(run), *config.cam.extra])
    plan: dict[str, list[str]] = {"classifier": [k for k in kinds if k == "cam"]}
    if config.recam.enabled:
        plan["recam"] = [k for k in kinds if k in (*RECAM_KINDS, *STAGE_KINDS)]
        plan["control"] = ["control"] if config.recam.control else []
    else:
        plan["classifier"] += [k for k in kinds if k in STAGE_KINDS]
    return {network: drawn for network, drawn in plan.items() if drawn}


def _export(run: Run, step: Step, network_name: str, kinds: Sequence[str], sizes: Sizes) -> float | None:
    """Draw the maps of one network for the images that do not have them yet; seconds an image, None if all had."""
    config = run.config
    kept = kept_kinds(kinds, config.cam)
    folders = {kind: step.folder / "maps" / kind for kind in kept}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in seed_ids(run) if not all((folder / f"{i}.npz").exists() for folder in folders.values())]
    if not missing:
        return None
    rows = dict(zip(run.train_ids, run.train_labels, strict=True))
    dataset = ImageDataset(
        run.data, missing, torch.stack([rows[i] for i in missing]), transform=eval_transform(config.cam.resize_long)
    )
    network = load_classifier(run.folder / network_name / "model.pt").eval().requires_grad_(False)
    _check_stages(network, config.cam)
    network.backbone = fold_batch_norm(network.backbone, torch.rand(1, 3, 64, 64))
    loader = partial(size_loader, dataset, batch_size=config.cam.batch_size, num_workers=num_workers(config))

    def draw(images: Tensor, present: Sequence[Sequence[int]]) -> dict[str, list[Tensor]]:
        return draw_maps(network, images, present, kinds, config.cam)

    def write(kind: str, image_id: str, maps: Tensor, classes: Sequence[int]) -> None:
        save_seeds(folders[kind] / f"{image_id}.npz", maps, classes, sizes[image_id])

    start = time.monotonic()
    predict(config, SeedTask(network, draw, write), loader)
    return (time.monotonic() - start) / len(missing)


def _check_disk(run: Run, step: Step, sizes: Sizes) -> None:
    """Say how much will be written at most (the files are compressed), and refuse where the disk has less."""
    longest = run.config.cam.resize_long
    num_kinds = len(_all_kinds(run)) + 1  # and their average
    present = dict(zip(run.train_ids, run.train_labels.sum(dim=1).tolist(), strict=True))
    cells = {i: prod(strided_size(resized(size, longest))) for i, size in sizes.items()}
    needed = 2 * num_kinds * sum(present[i] * cells[i] for i in sizes) / 1e6  # float16
    free = shutil.disk_usage(step.folder).free / 1e6
    log.info("seeds: up to %.1f MB for %d images", needed, len(sizes))
    if needed > free:
        raise InputError(f"{step.folder}: {needed:.0f} MB needed, {free:.0f} MB free; leave out kinds of cam.extra")


def resized(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Height and width of an image whose longer side is brought to `longest` pixels."""
    factor = 1.0 if longest is None else longest / max(size)
    return round(size[0] * factor), round(size[1] * factor)


def _check_stages(network: Classifier, config: CamConfig) -> None:
    known = list(network.backbone.channels)
    unknown = sorted({*config.stages, *config.tanh_stages} - {*known})
    if unknown:
        raise InputError(f"cam.stages: this backbone has no {unknown[0]}; expected some of {', '.join(known)}")


def original_sizes(run: Run) -> Sizes:
    """Height and width of the images that get seeds, from their headers."""
    sizes = {}
    for image_id in seed_ids(run):
        width, height = image_size(run.data.image_path(image_id))
        sizes[image_id] = (height, width)
    return sizes


def _average(run: Run, step: Step) -> None:
    """The seed: mean of its kinds' normalised maps, divided by its maximum again."""
    for image_id in seed_ids(run):
        kinds = [load_seeds(step.folder / "maps" / kind / f"{image_id}.npz") for kind in seed_kinds(run)]
        mean = torch.from_numpy(np.mean([seeds.maps for seeds in kinds], axis=0))
        save_seeds(step.folder / f"{image_id}.npz", normalize(mean), kinds[0].classes.tolist(), kinds[0].size)


def _score(run: Run, step: Step, threshold: float) -> None:
    kinds = {"seed": step.folder} | {p.name: p for p in sorted((step.folder / "maps").iterdir())}
    thresholds = np.arange(run.config.cam.thresholds) / run.config.cam.thresholds
    config = run.config.cam
    drawn = set(seed_ids(run))
    truths = {i: read_mask(run.data.mask_path(i)) for i in run.score_ids if i in drawn}
    common = {"scored": "seeds", "split": run.scored_split, "images": len(truths), "crf": "none", "void": VOID_POLICY}
    rows: list[tuple[str, float, float]] = []
    for kind, folder in kinds.items():
        sweep = sweep_seeds(folder, truths, run.data.num_classes + 1, [*thresholds, threshold])
        rows += [(kind, float(t), float(m) * 100) for t, m in zip(sweep.thresholds, sweep.miou, strict=True)]
        scales = config.layer_scales if kind.startswith(STAGE_KINDS) else config.scales
        protocol = {**common, "scales": list(scales), "flip": config.flip}
        key = "seeds/oracle_miou" if kind == "seed" else f"seeds/{kind}/miou"
        if kind == "seed":
            protocol |= seed_protocol(run)
            chosen = int(np.flatnonzero(sweep.thresholds == threshold)[0])
            at = {"threshold": round(threshold, 4), "threshold_from": "mean Otsu, no truth"}
            step.add_figure("seeds/miou", 100 * sweep.miou[chosen], **protocol, **at)
            write_iou(step.folder / "iou.csv", run, sweep.iou[chosen], run.stamp(**protocol, **at))
        best = round(float(sweep.thresholds[sweep.best]), 4)
        step.add_figure(key, 100 * sweep.miou.max(), threshold=best, threshold_from="oracle", **protocol)
    all_scales = {"scales": list(config.scales), "layer_scales": list(config.layer_scales), "flip": config.flip}
    write_scores(step.folder / "curve.csv", ["kind", "threshold", "miou"], rows, run.stamp(**common, **all_scales))


def sweep_seeds(
    folder: Path, truths: dict[str, NDArray[np.uint8]], num_labels: int, thresholds: Sequence[float]
) -> Sweep:
    """Score the seeds of a folder at many background thresholds."""
    counter = ThresholdCounter(sorted(set(thresholds)), num_labels)
    for image_id, truth in truths.items():
        seeds = load_seeds(folder / f"{image_id}.npz")
        counter.update(resize_maps(seeds.maps, seeds.size), seeds.classes, truth)
    return counter.compute()
