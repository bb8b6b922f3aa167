"""Step `seeds`: localisation maps of the train images' present classes, one small file an image, and their scores."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss.cam import normalize
from wsss.data import DataDescription, read_mask
from wsss.masks import dataset_threshold
from wsss.metrics import Sweep, ThresholdCounter
from wsss.models import Classifier
from wsss.pipeline.drawing import (
    Drawing,
    Sizes,
    add_seconds,
    check_disk,
    draw_images,
    drawn_kinds,
    original_sizes,
    seed_bytes,
    seed_ids,
    seed_kinds,
    val_map_ids,
)
from wsss.pipeline.export_maps import export_maps, fuse_exported
from wsss.pipeline.maps import STAGE_KINDS, draw_maps, kept_kinds
from wsss.pipeline.processes import on_first
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.tables import VOID_POLICY, write_iou, write_scores
from wsss.pipeline.training import prepare
from wsss.seeds import load_seeds, resize_maps, save_seeds


def seeds_step(run: Run) -> Step:
    """The step's identity: its options and the networks, or the maps they have drawn."""
    inputs = _networks(run) if run.config.cam.drawn_stages is None else ["maps"]
    return run.step("seeds", {"cam": _settings(run)}, inputs, _files(run, seed_ids(run)))


def make_seeds(run: Run) -> Step:
    """Export maps of every kind asked for, average the seed's kinds, and score each where there is truth."""
    is_exported = run.config.cam.drawn_stages is not None
    if is_exported:
        export_maps(run)
    step = seeds_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    run.check_data()
    prepare(run.config)
    sizes = original_sizes(run, seed_ids(run))
    with step.working():
        on_first(lambda: check_disk(step, "seeds", seed_bytes(run, sizes), len(sizes)))
        if is_exported:
            on_first(lambda: fuse_exported(run, step.folder / "maps"))
        else:
            add_seconds(run, step, _draw(run, step, sizes))
        on_first(lambda: _average_and_score(run, step))
    return step


def make_val_maps(run: Run) -> Step:
    """Step `val_maps`: maps of the val images, every kind and their average, drawn and kept as the seeds are."""
    step = run.step("val_maps", {"cam": _settings(run)}, _networks(run), _files(run, val_map_ids(run)))
    if step.skip():
        return step
    run.check_data()
    prepare(run.config)
    sizes = original_sizes(run, val_map_ids(run))
    with step.working():
        on_first(lambda: check_disk(step, "maps of val", seed_bytes(run, sizes), len(sizes)))
        _draw(run, step, sizes)
        on_first(lambda: _average(run, step, sizes))
    return step


def _average_and_score(run: Run, step: Step) -> None:
    _average(run, step, seed_ids(run))
    threshold = seed_threshold(run, step.folder)
    if run.has_train_truth:
        _score(run, step, threshold)


def seed_protocol(run: Run) -> dict[str, object]:
    """How the seeds were drawn, for the figures of seeds and of what is made from them."""
    config = run.config.cam
    weights = Counter(seed_kinds(run))
    layer_scales = {"layer_scales": list(config.layer_scales)} if {*weights} & {*STAGE_KINDS} else {}
    maps = " + ".join(kind if n == 1 else f"{n} {kind}" for kind, n in weights.items())
    return {"scales": list(config.scales), **layer_scales, "flip": config.flip, **_climb(run), "maps": maps}


def _climb(run: Run) -> dict[str, object]:
    steps = run.config.cam.adv.steps
    return {"adv_steps": steps} if steps else {}


def seed_threshold(run: Run, folder: Path) -> float:
    """Background threshold chosen without truth of the seeds, or of others made of them, in a folder."""
    paths = (folder / f"{image_id}.npz" for image_id in seed_ids(run))
    return dataset_threshold(seeds.maps.max(axis=0) for seeds in map(load_seeds, paths) if len(seeds.classes))


def _settings(run: Run) -> dict[str, Any]:
    settings = asdict(run.config.cam)
    del settings["batch_size"], settings["drawn_stages"]
    return settings


def _files(run: Run, ids: Sequence[str]) -> list[str]:
    folders = ["", *(f"maps/{kind}/" for kind in kept_kinds(drawn_kinds(run), run.config.cam))]
    return [f"{folder}{image_id}.npz" for folder in folders for image_id in ids]


def _networks(run: Run) -> list[str]:
    recam = run.config.recam
    return [
        "classifier",
        *(["recam"] if recam.enabled else []),
        *(["control"] if recam.enabled and recam.control else []),
    ]


def _draw(run: Run, step: Step, sizes: Sizes) -> float | None:
    """Draw `maps/<kind>/<id>.npz`, fused; seconds an image, see `draw_images`."""
    config = run.config.cam

    def draw(
        network: Classifier, images: Tensor, present: Sequence[Sequence[int]], kinds: Sequence[str]
    ) -> dict[str, list[Tensor]]:
        return draw_maps(network, images, present, kinds, config)

    def folders(kinds: Sequence[str]) -> dict[str, Path]:
        return {kind: step.folder / "maps" / kind for kind in kept_kinds(kinds, config)}

    return draw_images(run, step, sizes, Drawing(draw, save_seeds, folders))


def _average(run: Run, step: Step, ids: Iterable[str]) -> None:
    """The seed: mean of its kinds' normalised maps, divided by its maximum again."""
    for image_id in ids:
        kinds = [load_seeds(step.folder / "maps" / kind / f"{image_id}.npz") for kind in seed_kinds(run)]
        mean = torch.from_numpy(np.mean([seeds.maps for seeds in kinds], axis=0))
        save_seeds(step.folder / f"{image_id}.npz", normalize(mean), kinds[0].classes.tolist(), kinds[0].size)


def _score(run: Run, step: Step, threshold: float) -> None:
    kinds = {"seed": step.folder} | {p.name: p for p in sorted((step.folder / "maps").iterdir())}
    thresholds = np.arange(run.config.cam.thresholds) / run.config.cam.thresholds
    config = run.config.cam
    drawn = set(seed_ids(run))
    ids = [i for i in run.score_ids if i in drawn]
    common = {"scored": "seeds", "split": run.scored_split, "images": len(ids), "crf": "none", "void": VOID_POLICY}
    rows: list[tuple[str, float, float]] = []
    for kind, folder in kinds.items():
        sweep = sweep_seeds(run.data, folder, ids, [*thresholds, threshold])
        rows += [(kind, float(t), float(m) * 100) for t, m in zip(sweep.thresholds, sweep.miou, strict=True)]
        scales = config.layer_scales if kind.startswith(STAGE_KINDS) else config.scales
        protocol = {**common, "scales": list(scales), "flip": config.flip, **_climb(run)}
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


def sweep_seeds(data: DataDescription, folder: Path, ids: Sequence[str], thresholds: Sequence[float]) -> Sweep:
    """Score the seeds of a folder at many background thresholds."""
    counter = ThresholdCounter(sorted(set(thresholds)), data.num_classes + 1)
    for image_id in ids:
        seeds = load_seeds(folder / f"{image_id}.npz")
        counter.update(resize_maps(seeds.maps, seeds.size), seeds.classes, read_mask(data.mask_path(image_id)))
    return counter.compute()
