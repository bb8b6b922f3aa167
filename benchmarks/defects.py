"""LayerCAM, Grad-CAM and Grad-CAM++ on surface defects, stage by stage and joined: how well they outline, how fast.

    python scripts/run_pipeline.py experiment=defects data.root=data/magnetic_tile
    python benchmarks/defects.py outputs/defects [--images 16] [--repeats 3] [--threads 1]

Scored are the maps that the run has exported, on the images whose seeds are scored: mIoU at the best of the thresholds
(oracle) and at the one chosen without truth (mean Otsu), and there the IoU of each defect. Timed is drawing alone, one
image at a time in float32, from pixels to maps at stride 4, of the first images that show a defect and for one kind and
choice of stages a time; decoding, files and scores are not counted. `--no-time` leaves that out. The figures are kept
in the run, as `drawing/train/scores.json`.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measuring import measure_call
from rich.console import Console
from rich.table import Table
from torch import Tensor

from wsss.data import ImageDataset, eval_transform
from wsss.models import Classifier, fold_batch_norm
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.make_seeds import seed_threshold, sweep_seeds
from wsss.pipeline.maps import draw_maps
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.run import Run, open_run
from wsss.report.tables import kind_name
from wsss.writing import write_json

KINDS = ("layer_cam", "grad_cam", "grad_cam_pp")


def rows(run: Run) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Kind, stages, and the folder of their maps."""
    stages = run.config.cam.stages
    for kind in KINDS:
        yield from ((kind, (stage,), f"{kind}_{stage}") for stage in stages)
        yield kind, tuple(stages), kind


def score(run: Run, folder: Path) -> dict[str, float]:
    """Mean IoU at the best threshold and at the one chosen without truth, and IoU of each class there, in percent."""
    threshold = seed_threshold(run, folder)
    grid = np.arange(run.config.cam.thresholds) / run.config.cam.thresholds
    sweep = sweep_seeds(run.data, folder, run.score_ids, [*grid, threshold])
    chosen = int(np.flatnonzero(sweep.thresholds == threshold)[0])
    of_classes = zip(run.data.classes, sweep.iou[chosen, 1:].tolist(), strict=True)
    scores = {"oracle": float(sweep.miou.max()), "mIoU": float(sweep.miou[chosen]), **dict(of_classes)}
    return {name: 100 * value for name, value in scores.items()}


def pictures(run: Run, number: int) -> list[tuple[Tensor, list[int]]]:
    """The first images that show a class, (1, 3, H, W) uint8 as their maps are drawn, and their classes."""
    labelled = [(i, row) for i, row in zip(run.train_ids, run.train_labels, strict=True) if row.any()][:number]
    ids, labels = [image_id for image_id, _ in labelled], torch.stack([row for _, row in labelled])
    dataset = ImageDataset(run.data, ids, labels, transform=eval_transform(run.config.cam.resize_long))
    items = [dataset[index] for index in range(len(ids))]
    return [(item.images[None], item.labels.nonzero()[:, 0].tolist()) for item in items]


def images_per_second(
    run: Run,
    network: Classifier,
    seen: Sequence[tuple[Tensor, list[int]]],
    kind: str,
    stages: Sequence[str],
    repeats: int,
) -> float:
    """Of drawing one kind of map from some stages."""
    config = replace(run.config.cam, stages=list(stages), stage_weights=None, keep_stages=False)

    def draw() -> None:
        for image, classes in seen:
            draw_maps(network, image, [classes], [kind], config)

    return len(seen) / measure_call(draw, repeats)[0]["seconds"]


def show(run: Run, results: dict[str, dict[str, float]]) -> None:
    """A row a kind and choice of stages."""
    columns = [name.replace("_per_", "/") for name in next(iter(results.values()))]
    table = Table("map", "stages", *columns, title=f"{run.data.name}, {len(run.score_ids)} images; percent, images/s")
    for kind, stages, name in rows(run):
        label = " + ".join(stage.removeprefix("stage") for stage in stages)
        figures = results[name].values()
        table.add_row(kind_name(kind), label, *(f"{value:.1f}" for value in figures), end_section=len(stages) > 1)
    Console(width=140).print(table)


@one_line_errors()
def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Maps of surface defects, stage by stage: mIoU and images a second.")
    parser.add_argument("run", type=Path, help="folder of a run of experiment=defects, with seeds")
    parser.add_argument("--images", type=int, default=16, help="timed images")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes over them, of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--no-time", action="store_true", help="scores alone")
    options = parser.parse_args()
    start = time.perf_counter()
    torch.set_num_threads(options.threads)
    run = open_run(options.run)
    maps = run.folder / "seeds" / "maps"
    missing = next((maps / name for _, _, name in rows(run) if not (maps / name).is_dir()), None)
    if missing is not None:
        parser.error(f"{missing}: no such maps; make them with `python scripts/make_seeds.py experiment=defects …`")
    results = {name: score(run, maps / name) for _, _, name in rows(run)}
    if not options.no_time:
        network = load_classifier(run.folder / "classifier" / "model.pt").eval().requires_grad_(False)
        network.backbone = fold_batch_norm(network.backbone, torch.rand(1, 3, 64, 64))
        seen = pictures(run, options.images)
        for kind, stages, name in rows(run):
            speed = images_per_second(run, network, seen, kind, stages, options.repeats)
            results[name]["images_per_second"] = speed
    show(run, results)
    seconds = round(time.perf_counter() - start, 1)
    write_json(run.folder / "drawing" / "train" / "scores.json", {"seconds": seconds, "kinds": results})


if __name__ == "__main__":
    main()
