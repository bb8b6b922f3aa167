"""Steps `relations` and `refined`: seeds spread within objects by IRN, AffinityNet or PAR, before they become masks."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss.cudnn import FamiliarSizes
from wsss.data import ImageDataset, TrainValData, eval_transform, read_image
from wsss.masks import (
    affinity_walk,
    feature_affinities,
    par,
    random_walk,
    require_backend,
    require_graph_cut,
    walk_bytes,
)
from wsss.models import IRN, AffinityNet
from wsss.models.files import backbone_of, building, read_model, save_model
from wsss.models.loading import filled
from wsss.pipeline.config import MasksConfig, WalkConfig
from wsss.pipeline.drawing import original_sizes, resized, seed_ids
from wsss.pipeline.make_seeds import seed_protocol, seed_threshold, sweep_seeds
from wsss.pipeline.mask_maker import CRF_KINDS, crf_settings, engine, mask_maker, write_masks
from wsss.pipeline.networks import trained_backbone, trained_network
from wsss.pipeline.processes import on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.tables import VOID_POLICY
from wsss.pipeline.training import (
    augmentation,
    autocast,
    device_of,
    fit,
    num_workers,
    optimizer_options,
    prepare,
    shard,
)
from wsss.progress import follow
from wsss.seeds import load_seeds, save_seeds
from wsss.tasks import RelationTask

log = logging.getLogger(__name__)

LEARNT: dict[str, type[IRN] | type[AffinityNet]] = {"irn": IRN, "psa": AffinityNet}
# Options of the walk that the outcome does not depend on.
OF_OTHERS = {"irn": ("budget", "background_power"), "psa": ("budget", "scales", "flip"), "par": ()}


def source_of_masks(run: Run) -> str:
    """The step whose seeds masks are cut of."""
    return "seeds" if run.config.masks.refine == "none" else "refined"


def require_crf(config: MasksConfig) -> None:
    """Refuse a CRF back end or OpenCV that is missing, where masks, or labels to learn from, need one."""
    if config.kind in CRF_KINDS or config.refine in LEARNT:
        require_backend(config.crf)
    if config.kind == "graphcut":
        require_graph_cut()


def refined_protocol(run: Run) -> dict[str, object]:
    """How the seeds were refined, for the figures of what is made of them."""
    refine = run.config.masks.refine
    if refine == "none":
        return {}
    return {"refined": refine} if refine == "par" else {"refined": f"{refine}, {run.config.masks.walk.keep:g} kept"}


def refine_seeds(run: Run) -> Step | None:
    """Write `refined/<id>.npz`, the train images' seeds after what `masks.refine` asks for, and score them."""
    kind = run.config.masks.refine
    if kind == "none":
        return None
    if kind in LEARNT:
        train_relations(run)
    step = refined_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    prepare(run.config)
    with step.working():
        on_first(lambda: _refine_and_score(run, step))
    return step


def _refine_and_score(run: Run, step: Step) -> None:
    _refine(run, step)
    if run.has_train_truth:
        _score(run, step)


def refined_step(run: Run) -> Step:
    """The step's identity: its options, the seeds, and what was learnt from them."""
    config = run.config.masks
    settings = asdict(config.par if config.refine == "par" else config.walk)
    for option in OF_OTHERS[config.refine]:
        del settings[option]
    inputs = ["seeds", "relations"] if config.refine in LEARNT else ["seeds"]
    settings = {"refine": config.refine, **settings}
    return run.step("refined", {"refined": settings}, inputs, [f"{image_id}.npz" for image_id in run.train_ids])


def relations_step(run: Run) -> Step:
    """The step's identity: its options, the seeds, and the network it grows on."""
    config = run.config.masks
    labels = {"fg_margin": config.fg_margin, "bg_margin": config.bg_margin, "crf": crf_settings(config.crf)}
    settings = {"refine": config.refine, **asdict(config.relations), "labels": labels}
    network = trained_network(run)
    return run.step("relations", {"relations": settings}, ["seeds", network])


def train_relations(run: Run) -> Step:
    """Train IRN or AffinityNet on `relations/labels/<id>.png`, the confident labels of the seeds; writes `model.pt`."""
    step = relations_step(run)
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    labels = step.folder / "labels"
    with step.working():
        on_first(lambda: _write_labels(run, labels))
        network = LEARNT[run.config.masks.refine](trained_backbone(run))
        _fit(run, step, network, labels)
        on_first(lambda: _save(run, step, network))
    return step


def _write_labels(run: Run, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with engine(run.config.masks):
        maker = replace(mask_maker(run), kind="confident")
        write_masks(run, maker, run.train_ids, seed_threshold(run, run.folder / "seeds"), folder)


def _save(run: Run, step: Step, network: IRN | AffinityNet) -> None:
    if isinstance(network, IRN):
        _centre(run, network)
    kind, settings = run.config.masks.refine, {"backbone": {**asdict(run.config.backbone), "weights": "none"}}
    save_model(step.folder / "model.pt", network, kind=kind, network=settings, classes=list(run.data.classes))


def _fit(run: Run, step: Step, network: IRN | AffinityNet, labels: Path) -> None:
    config = run.config.masks.relations
    data = TrainValData(
        ImageDataset(
            run.data,
            run.train_ids,
            run.train_labels,
            transform=augmentation(config.augment or run.config.classifier.augment),
            mask_folder=labels,
            cache=run.image_cache,
        ),
        ImageDataset(run.data, [], run.train_labels[:0], transform=eval_transform()),
        batch_size=config.batch_size,
        num_workers=num_workers(run.config),
        shard=shard(),
        seed=run.config.seed,
    )
    task = RelationTask(network, radius=config.radius, **optimizer_options(config.optimizer))
    fit(run.config, task, data, step, epochs=config.epochs, guarded="masks.relations")


@torch.inference_mode()
def _centre(run: Run, network: IRN) -> None:
    """Make the displacements' mean over the train images 0, by which they point at centres (IRN, "mean shift")."""
    network.eval().to(device_of(run.config))
    means, sizes = [], FamiliarSizes(network)
    for _, image in seed_images(run, run.train_ids):
        with sizes.of(image):
            means.append(network(image).displacement.mean(dim=(0, 2, 3)))
    network.mean_displacement += torch.stack(means).mean(dim=0)


def seed_images(run: Run, ids: list[str]) -> Iterator[tuple[str, Tensor]]:
    """Images (1, 3, H, W) uint8 as the seeds saw them."""
    transform, device = eval_transform(run.config.cam.resize_long), device_of(run.config)
    for image_id in ids:
        pixels = np.array(transform(read_image(run.data.image_path(image_id))))
        yield image_id, torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)


@torch.inference_mode()
def _refine(run: Run, step: Step) -> None:
    refine = Refinement(run)
    if refine.network is not None:
        _tell_memory(run, refine.network.stride)
    missing = [i for i in run.train_ids if not (step.folder / f"{i}.npz").exists()]
    images = seed_images(run, missing)
    for image_id, image in follow(images, "refined", total=len(missing), shown=run.config.trainer.progress):
        seeds = load_seeds(run.folder / "seeds" / f"{image_id}.npz")
        maps = torch.from_numpy(seeds.maps).to(image.device)
        refined = refine(image, maps) if len(maps) else maps
        save_seeds(step.folder / f"{image_id}.npz", refined, seeds.classes.tolist(), seeds.size)


def _tell_memory(run: Run, stride: int) -> None:
    """Say what the largest walk takes, before the first."""
    walk, longest = run.config.masks.walk, run.config.cam.resize_long
    sizes = [resized(size, longest) for size in original_sizes(run, seed_ids(run)).values()]
    grids = [[math.ceil(side / stride) for side in size] for size in sizes]
    most = max(walk_bytes(grid, walk.radius) for grid in grids) / 2**20
    if most > walk.budget:
        log.info("walk: up to %d MiB, over masks.walk.budget=%d: in tiles", most, walk.budget)
    else:
        log.info("walk: up to %.1f MiB", most)


class Refinement:
    """The run's way from an image and its seeds to refined ones."""

    def __init__(self, run: Run) -> None:
        self.run, self.config = run, run.config.masks
        self.network: IRN | AffinityNet | None = None
        if self.config.refine in LEARNT:
            self.network = load_relations(run.folder / "relations" / "model.pt").to(device_of(run.config))
            self.sizes = FamiliarSizes(self.network)

    @cached_property
    def background_power(self) -> float:
        """Of `1 - score`, for AffinityNet's background: what makes it equal a score at the seeds' threshold t."""
        given = self.config.walk.background_power
        if given is not None:
            return given
        t = min(max(seed_threshold(self.run, self.run.folder / "seeds"), 0.01), 0.99)
        return math.log(t) / math.log(1 - t)

    def __call__(self, image: Tensor, maps: Tensor) -> Tensor:
        """Refined maps in [0, 1].

        Args:
            image: (1, 3, H, W) uint8.
            maps: the seeds, (K, h, w), K ≥ 1.
        """
        if isinstance(self.network, IRN):
            walked = self._within_edges(self.network, image, maps)
        elif isinstance(self.network, AffinityNet):
            walked = self._by_features(self.network, image, maps)
        else:
            return self._by_colors(image, maps)
        return torch.lerp(walked, maps, self.config.walk.keep)

    def _within_edges(self, network: IRN, image: Tensor, maps: Tensor) -> Tensor:
        walk = self.config.walk
        with autocast(self.run.config), self.sizes.of(image):
            edge = edges(network, image, walk, size=maps.shape[1:])
        scores = random_walk(maps, edge, **walk_options(walk))
        return scores / scores.max().clamp(min=torch.finfo(scores.dtype).tiny)

    def _by_features(self, network: AffinityNet, image: Tensor, maps: Tensor) -> Tensor:
        walk = self.config.walk
        with autocast(self.run.config), self.sizes.of(image):
            features = network(image)[0].float()
        size = maps.shape[1:]
        background = (1 - maps.amax(dim=0, keepdim=True)) ** self.background_power
        planes = F.interpolate(torch.cat([background, maps])[None], features.shape[1:], mode="area")[0]
        affinities = feature_affinities(features, walk.radius)
        scores = affinity_walk(planes, affinities, **walk_options(walk))
        # A share of class and background: beyond a half where the class has the higher score, as published.
        shares = scores[1:] / (scores[1:] + scores[:1]).clamp(min=torch.finfo(scores.dtype).tiny)
        return F.interpolate(shares[None], size, mode="bilinear", align_corners=False)[0]

    def _by_colors(self, image: Tensor, maps: Tensor) -> Tensor:
        options = asdict(self.config.par)
        stride = options.pop("stride")
        size = [math.ceil(side / stride) for side in image.shape[2:]]
        maps = F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
        return par(image[0], maps, **options).clamp(0, 1)


def walk_options(walk: WalkConfig) -> dict[str, Any]:
    """Keyword arguments of either walk."""
    given = {"radius": walk.radius, "beta": walk.beta, "exp_times": walk.exp_times}
    return {**given, "budget": walk.budget * 2**20}


def edges(network: IRN, image: Tensor, walk: WalkConfig, *, size: Sequence[int]) -> Tensor:
    """Edge probability (h, w) of an image (1, 3, H, W), from all scales and the mirror image."""
    logits = []
    for scale, flip in product(walk.scales, (False, True) if walk.flip else (False,)):
        sides = [max(round(side * scale), 32) for side in image.shape[2:]]
        seen = image.float() / 255
        seen = F.interpolate(seen, sides, mode="bilinear", align_corners=False, antialias=True)
        found = network.edges(seen.flip(-1) if flip else seen)
        found = found.flip(-1) if flip else found
        logits.append(F.interpolate(found[None].float(), size, mode="bilinear", align_corners=False)[0, 0])
    return torch.stack(logits).mean(dim=0).sigmoid()


def load_relations(path: Path) -> IRN | AffinityNet:
    """Read an IRN or AffinityNet, in evaluation mode."""
    file = read_model(path, kinds=tuple(LEARNT))
    with building(path):
        network: IRN | AffinityNet = filled(lambda: LEARNT[file.kind](backbone_of(file)), file.state_dict)
    return network.eval()


def _score(run: Run, step: Step) -> None:
    """Score the refined seeds at the threshold chosen without truth and at the best of many."""
    threshold = seed_threshold(run, step.folder)
    grid = np.arange(run.config.cam.thresholds) / run.config.cam.thresholds
    sweep = sweep_seeds(run.data, step.folder, run.score_ids, [*grid, threshold])
    protocol = {
        "scored": "seeds",
        "split": run.scored_split,
        "images": len(run.score_ids),
        "crf": "none",
        "void": VOID_POLICY,
    }
    protocol |= seed_protocol(run) | refined_protocol(run)
    chosen, best = (int(np.flatnonzero(sweep.thresholds == t)[0]) for t in (threshold, sweep.thresholds[sweep.best]))
    for key, at, source in (("miou", chosen, "mean Otsu, no truth"), ("oracle_miou", best, "oracle")):
        where = {"threshold": round(float(sweep.thresholds[at]), 4), "threshold_from": source}
        step.add_figure(f"refined/{key}", 100 * sweep.miou[at], **protocol, **where)
