"""How far the maps of a run tell what its classifier looks at, all kinds side by side; and how its gradients vary."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from wsss.data import ImageDataset, eval_transform, size_loader
from wsss.errors import InputError
from wsss.metrics import (
    OCCLUDED_FROM,
    Predict,
    auc,
    confidence,
    deletion_insertion,
    occlude,
    relative_variance,
    road,
)
from wsss.models import Classifier
from wsss.pipeline.drawing import labels_of
from wsss.pipeline.drawn_maps import drawn_maps, has_single_labels, judge_name, load_judge, probabilities
from wsss.pipeline.run import Run
from wsss.pipeline.tables import write_scores
from wsss.pipeline.training import device_of, num_workers, prepare
from wsss.progress import follow
from wsss.report.html import write_png
from wsss.report.plots import stage_spread
from wsss.report.tables import kind_name, plain_table, stamp
from wsss.seeds import load_seeds, resize_maps
from wsss.writing import write_json

log = logging.getLogger(__name__)

BLUR_SIZE, BLUR_SIGMA = 11, 5.0  # RISE's
NOISE = 0.01  # ROAD's
# Figure -> its title; an arrow says which way is better.
FIGURES = {
    "occlusion": "occlusion ↑",
    "average_drop": "avg drop ↓",
    "increase": "increase ↑",
    "deletion": "deletion ↓",
    "insertion": "insertion ↑",
    "road": "ROAD ↑",
}
QUARTILES = (0.25, 0.5, 0.75)
Rows = dict[str, list[Tensor]]  # figure -> of each batch, its rows


def faithfulness(run: Run) -> dict[str, dict[str, float | None]]:
    """Measure every kind of map on the same images; writes `faithfulness/<split>/`, see docs/localisation.md.

    Returns:
        Kind -> figures in percent; None where there is nothing to count.

    Raises:
        InputError: if there are no seeds, no such network, or no image with a class.
    """
    options = run.config.faithfulness
    prepare(run.config)
    judge = judge_name(run, options.network)
    network = load_judge(run, judge)
    maps = drawn_maps(run, options.split, options.kinds)
    with_class = [image_id for image_id, labels in labels_of(run, maps.ids).items() if labels.any()]
    ids = with_class[: options.limit_images]
    if not ids:
        raise InputError(f"{run.data.root}: no image of {maps.split} has a class whose map could be looked at")
    is_single = has_single_labels(run)

    def predict(images: Tensor) -> Tensor:
        with torch.no_grad():
            return probabilities(run, network(images))

    start = time.monotonic()
    generators = {kind: torch.Generator().manual_seed(run.config.seed) for kind in maps.folders}
    rows: dict[str, Rows] = {kind: defaultdict(list) for kind in maps.folders}
    spread: dict[str, list[Tensor]] = defaultdict(list)
    for batch_ids, images, present in _batches(run, ids):
        for gradients in stage_gradients(network, images, present):
            for stage, of_stage in gradients.items():
                spread[stage].append(relative_variance(of_stage).flatten().cpu())
        for kind, folder in maps.folders.items():
            for chunk in _chunks(folder, batch_ids, images, options.batch_size):
                for name, values in measure(run, predict, *chunk, is_single, generators[kind]).items():
                    rows[kind][name].append(values.cpu())
    pooled = {kind: {name: torch.cat(values) for name, values in of_kind.items()} for kind, of_kind in rows.items()}
    figures = {kind: _figures(of_kind) for kind, of_kind in pooled.items()}
    protocol = run.stamp(
        split=maps.split,
        images=len(ids),
        pairs=len(next(iter(pooled.values()))["right"]),
        classifier=judge,
        resize_long=run.config.cam.resize_long,
        right="scores highest" if is_single else "probability of 0.5 or more",
        occluded=f"map of {OCCLUDED_FROM} or more, black",
        steps=options.steps,
        inserted_over=f"Gaussian blur, {BLUR_SIZE} pixels, sigma {BLUR_SIGMA:g}",
        road_percentiles=list(options.percentiles),
        road_noise=NOISE,
    )
    folder = run.folder / "faithfulness" / options.split
    quartiles = {stage: _quartiles(torch.cat(values).numpy()) for stage, values in spread.items()}
    _write(run, folder, figures, pooled, quartiles, protocol, time.monotonic() - start)
    Console().print(_table(figures), stamp(protocol), highlight=False, markup=False)
    log.info("wrote %s", folder)
    return figures


def _batches(run: Run, ids: Sequence[str]) -> Iterator[tuple[list[str], Tensor, list[list[int]]]]:
    """Ids, images (B, 3, H, W) in [0, 1] as their maps were drawn of, and present classes, of one size at a time."""
    labels = torch.stack([*labels_of(run, ids).values()])
    dataset = ImageDataset(run.data, ids, labels, transform=eval_transform(run.config.cam.resize_long))
    loader = size_loader(dataset, batch_size=run.config.faithfulness.batch_size, num_workers=num_workers(run.config))
    for batch in follow(loader, "measuring", total=len(loader), shown=run.config.trainer.progress):
        images = batch.images.to(device_of(run.config)).float() / 255
        yield batch.ids, images, [row.nonzero()[:, 0].tolist() for row in batch.labels]


def _chunks(folder: Path, ids: Sequence[str], images: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, maps and classes of `size` rows at a time, each a present class of an image."""
    places, maps, classes = [], [], []
    for place, image_id in enumerate(ids):
        seeds = load_seeds(folder / f"{image_id}.npz")
        grown = resize_maps(seeds.maps, (images.shape[2], images.shape[3])) if len(seeds.classes) else ()
        for c, of_class in zip(seeds.classes.tolist(), grown, strict=True):
            places.append(place)
            maps.append(torch.from_numpy(of_class))
            classes.append(c)
    for start in range(0, len(places), size):
        part = slice(start, start + size)
        yield (
            images[places[part]],
            torch.stack(maps[part]).to(images.device),
            torch.tensor(classes[part], device=images.device),
        )


def measure(
    run: Run,
    predict: Predict,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    is_single: bool,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """All figures of each row, (B,), and ROAD's curves (B, P); what a pair is right by depends on the data."""
    options = run.config.faithfulness

    def is_right(seen: Tensor) -> Tensor:
        scores = predict(seen)
        if is_single:
            return scores.argmax(dim=1) == classes
        return scores.gather(1, classes[:, None])[:, 0] >= 0.5

    drop, increase = confidence(predict, images, maps, classes)
    blurred = TF.gaussian_blur(images, [BLUR_SIZE, BLUR_SIZE], [BLUR_SIGMA, BLUR_SIGMA])
    curves = deletion_insertion(predict, images, maps, classes, baseline=blurred, steps=options.steps)
    imputed = road(predict, images, maps, classes, percentiles=options.percentiles, noise=NOISE, generator=generator)
    return {
        "right": is_right(images),
        "right_occluded": is_right(occlude(images, maps)),
        "average_drop": drop,
        "increase": increase,
        "deletion": auc(curves.deletion),
        "insertion": auc(curves.insertion),
        "road": imputed.combined,
        "road_most": imputed.most,
        "road_least": imputed.least,
    }


def _figures(pooled: Mapping[str, Tensor]) -> dict[str, float | None]:
    """Means over all rows, in percent; occlusion over those that were right."""
    right = pooled["right"]
    lost = (~pooled["right_occluded"][right]).float()
    means = {"occlusion": lost, **{name: pooled[name] for name in FIGURES if name != "occlusion"}}
    return {name: round(100 * float(values.mean()), 4) if len(values) else None for name, values in means.items()}


def stage_gradients(
    network: Classifier, images: Tensor, present: Sequence[Sequence[int]]
) -> Iterator[dict[str, Tensor]]:
    """Gradient of the k-th present class's logit by each stage, stage -> (B_k, C, h, w), for each k."""
    stages_of = network.backbone
    with torch.enable_grad():
        stages = stages_of(images, grad_from=next(iter(stages_of.channels)))
        logits = network.pool(stages[stages_of.last_stage]) @ network.fc1_weight.T
    for k in range(max(map(len, present), default=0)):
        has_kth = [row for row, classes in enumerate(present) if len(classes) > k]
        score = logits[has_kth, [present[row][k] for row in has_kth]].sum()
        gradients = torch.autograd.grad(score, [*stages.values()], retain_graph=True)
        yield {name: gradient[has_kth] for name, gradient in zip(stages, gradients, strict=True)}


def _quartiles(values: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[float, ...]:
    """Of the channels that have a gradient; NaN without any."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (float("nan"),) * 3
    return tuple(np.quantile(known, QUARTILES, method="lower").tolist())  # some are infinite


def _write(
    run: Run,
    folder: Path,
    figures: Mapping[str, Mapping[str, float | None]],
    pooled: Mapping[str, Mapping[str, Tensor]],
    quartiles: Mapping[str, tuple[float, ...]],
    protocol: Mapping[str, object],
    seconds: float,
) -> None:
    """Write `scores.json`, `scores.csv`, `road.csv`, and `gradient_variance.csv` with its plot."""
    content = {"protocol": protocol, "unit": "percent", "seconds": round(seconds, 1), "kinds": figures}
    write_json(folder / "scores.json", content)
    rows = [[kind, *("" if value is None else value for value in row.values())] for kind, row in figures.items()]
    write_scores(folder / "scores.csv", ["kind", *FIGURES], rows, protocol)
    curves: list[list[object]] = [
        [kind, percent, round(100 * float(most), 4), round(100 * float(least), 4)]
        for kind, of_kind in pooled.items()
        for percent, most, least in zip(
            run.config.faithfulness.percentiles,
            of_kind["road_most"].mean(dim=0),
            of_kind["road_least"].mean(dim=0),
            strict=True,
        )
    ]
    write_scores(folder / "road.csv", ["kind", "percent", "most_relevant", "least_relevant"], curves, protocol)
    spread = [[stage, *values] for stage, values in quartiles.items()]
    kept = {key: protocol[key] for key in ("data", "split", "images", "pairs", "classifier", "resize_long")}
    what = "variance over cells of a channel's gradient / its squared mean, quartiles over pairs and channels"
    write_scores(folder / "gradient_variance.csv", ["stage", "q25", "median", "q75"], spread, {"scored": what, **kept})
    write_png(folder / "gradient_variance.png", stage_spread(quartiles))


def _table(figures: Mapping[str, Mapping[str, float | None]]) -> Table:
    """The rows, for the terminal."""
    table = plain_table()
    table.add_column("kind", overflow="fold")
    for title in FIGURES.values():
        table.add_column(title, justify="right", no_wrap=True)
    for kind, row in figures.items():
        table.add_row(kind_name(kind), *("–" if value is None else f"{value:.1f}" for value in row.values()))
    return table
