"""How well the maps of a run find their objects: boxes against true ones, pixels, and the classifier within boxes."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from wsss.data import VOID, Boxes, boxes_in_mask, boxes_in_xml, read_image, read_mask
from wsss.errors import InputError
from wsss.metrics import FRACTION, IOUS, Localization, LocalizationCounter, PixelCounter
from wsss.metrics.wsol import Box
from wsss.models import Classifier
from wsss.pipeline.box_crops import classify_crops, crop_scores, rank_of
from wsss.pipeline.drawing import labels_of, seed_kinds
from wsss.pipeline.drawn_maps import DrawnMaps, drawn_maps, has_single_labels, judge_name, load_judge
from wsss.pipeline.run import Run
from wsss.pipeline.tables import write_scores
from wsss.pipeline.training import prepare
from wsss.report.overlays import RGB, contact_sheet, heatmap_overlay, with_boxes
from wsss.report.tables import kind_name, plain_table, stamp
from wsss.seeds import load_seeds, resize_maps
from wsss.writing import whole_file, write_json

log = logging.getLogger(__name__)

LAYER_CAM_FRACTION = 0.15  # LayerCAM's own; other kinds are cut at CAM's
TRUE_COLOR, FOUND_COLOR = (70, 220, 90), (70, 150, 255)
MOST_COLUMNS, MOST_ROWS = 8, 12  # kinds and images in the picture


class Truth(NamedTuple):
    """What is true of one image: boxes of its classes, and where its mask lies, if it has one."""

    boxes: Boxes
    mask: Path | None


class Found(NamedTuple):
    """What the maps of one kind have found; `pxap` is None without masks.

    Attributes:
        scores: right boxes.
        pxap: see `PixelCounter`.
        boxes: (image id, class) -> box at the kind's own fraction.
        fraction: the latter.
    """

    scores: Localization
    pxap: float | None
    boxes: dict[tuple[str, int], Box | None]
    fraction: float


def localize(run: Run) -> dict[str, dict[str, float]]:
    """Compare every kind of map with the truth; writes `localization/<split>/`, see docs/localisation.md.

    Returns:
        Kind -> figures in percent.

    Raises:
        InputError: if there are no seeds, or no true boxes.
    """
    options = run.config.localization
    prepare(run.config)
    judge = judge_name(run, options.network)
    network = load_judge(run, judge)
    maps = drawn_maps(run, options.split, options.kinds)
    start = time.monotonic()
    source = box_source(run, maps.ids)
    truths = {image_id: truth for image_id in maps.ids if (truth := true_boxes(run, image_id, source)) is not None}
    if not truths:
        raise InputError(f"localization.boxes={source}: no true box of an image of {maps.split}; choose another source")
    labels = labels_of(run, truths)
    whole = {i: scores for (i, _), scores in classify_crops(run, network, [(i, None) for i in truths]).items()}
    is_ranked = has_single_labels(run) and run.data.num_classes > 5
    tasks = [
        delayed(localize_kind)(
            fraction_of(run, kind),
            folder,
            truths,
            _fractions(run, kind),
            options.connectivity,
            whole if is_ranked else None,
        )
        for kind, folder in maps.folders.items()
    ]
    found = dict(zip(maps.folders, Parallel(run.config.evaluation.jobs)(tasks), strict=True))
    pairs = len(next(iter(found.values())).boxes)
    if not pairs:
        raise InputError(
            f"localization.boxes={source}: none of its boxes is of a class that its image is labelled with"
        )
    figures = {kind: _figures(run, network, of_kind, labels, whole) for kind, of_kind in found.items()}
    protocol = run.stamp(
        split=maps.split,
        images=len(truths),
        pairs=pairs,
        boxes=source,
        without_boxes=len(maps.ids) - len(truths),
        connectivity=options.connectivity,
        box="largest component, strictly above the fraction of the maximum",
        several_boxes="the best counts",
        fractions=options.fractions,
        max_box_acc="best fraction, chosen on the truth (oracle)",
        classifier=judge,
        crop=run.config.classifier.augment.crop,
    )
    folder = run.folder / "localization" / options.split
    _write(folder, found, figures, protocol, time.monotonic() - start)
    with whole_file(folder / "boxes.png") as file:
        picture(run, maps, truths, found).save(file, "PNG")
    Console().print(_table(figures), stamp(protocol), highlight=False, markup=False)
    log.info("wrote %s", folder)
    return figures


def fraction_of(run: Run, kind: str) -> float:
    """The fraction of the maximum that the kind's paper cuts boxes at: 15 % of LayerCAM's maps, 20 % as CAM else.

    Seeds of LayerCAM alone are its maps.
    """
    kinds = seed_kinds(run) if kind == "seed" else [kind]
    return LAYER_CAM_FRACTION if all(kind.startswith("layer_cam") for kind in kinds) else FRACTION


def _fractions(run: Run, kind: str) -> NDArray[np.float64]:
    count = run.config.localization.fractions
    return np.unique(np.round([*np.arange(count) / count, fraction_of(run, kind)], 6))


def box_source(run: Run, ids: Sequence[str]) -> str:
    """Where true boxes come from, see `LocalizationConfig.boxes`.

    Raises:
        InputError: if there are none.
    """
    wanted = run.config.localization.boxes
    has_xml = any(run.data.annotation_path(image_id).is_file() for image_id in ids)
    has_masks = any(run.data.mask_path(image_id).is_file() for image_id in ids)
    if wanted == "auto":
        if not (has_xml or has_masks):
            raise InputError(
                f"{run.data.root}: neither annotations nor masks to take boxes from; add Annotations/<id>.xml"
            )
        return "xml" if has_xml else "masks"
    if (wanted == "xml" and not has_xml) or (wanted == "masks" and not has_masks):
        path = run.data.annotation_path(ids[0]) if wanted == "xml" else run.data.mask_path(ids[0])
        raise InputError(f"localization.boxes={wanted}: no such file as {path}; choose auto, xml, masks, or a folder")
    if wanted not in ("xml", "masks") and not Path(wanted).is_dir():
        raise InputError(f"localization.boxes={wanted}: expected auto, xml, masks, or a folder of annotations")
    return wanted


def true_boxes(run: Run, image_id: str, source: str) -> Truth | None:
    """Boxes of the objects of an image; None if it has none there."""
    mask = run.data.mask_path(image_id)
    has_mask = mask.is_file()
    if source == "masks":
        boxes = boxes_in_mask(read_mask(mask)) if has_mask else {}
    else:
        first, path = 1, run.data.annotation_path(image_id)
        if source != "xml":
            first, path = 0, Path(source) / f"{image_id}.xml"
        boxes = boxes_in_xml(path, run.data.classes, first_pixel=first) if path.is_file() else {}
    return Truth(boxes, mask if has_mask else None) if boxes else None


def localize_kind(
    fraction: float,
    folder: Path,
    truths: Mapping[str, Truth],
    fractions: NDArray[np.float64],
    connectivity: int,
    scores: Mapping[str, Tensor] | None,
) -> Found:
    """Look at all maps of one kind, in a process of its own perhaps; `scores` rank the classes for loc1 and loc5.

    A present class without a true box is left out.
    """
    counter, pixels = LocalizationCounter(fractions, connectivity=connectivity), PixelCounter()
    at = int(np.abs(fractions - fraction).argmin())
    has_masks = all(truth.mask is not None for truth in truths.values())
    boxes: dict[tuple[str, int], Box | None] = {}
    for image_id, truth in truths.items():
        seeds = load_seeds(folder / f"{image_id}.npz")
        mask = read_mask(truth.mask) if has_masks and truth.mask is not None else None
        for c, of_class in zip(seeds.classes.tolist(), resize_maps(seeds.maps, seeds.size), strict=True):
            if c not in truth.boxes:
                continue
            rank = None if scores is None else rank_of(scores[image_id], c)
            components = counter.update(of_class, truth.boxes[c], rank=rank)[at]
            boxes[image_id, c] = tuple(components.boxes[0].tolist()) if len(components.boxes) else None
            if mask is not None:
                pixels.update(of_class, mask == c + 1, mask == VOID)
    return Found(counter.compute(), pixels.compute() if has_masks else None, boxes, fraction)


def _figures(
    run: Run, network: Classifier, found: Found, labels: Mapping[str, Tensor], whole: Mapping[str, Tensor]
) -> dict[str, float]:
    """The row of a kind: percent, but for fractions."""
    scores = found.scores
    at, half = scores.at(found.fraction), int(np.flatnonzero(scores.ious == 0.5)[0])
    crops = crop_scores(run, network, found.boxes, labels, whole)
    shares = {
        "gt_known": float(scores.box_acc[at, half]),
        **{f"loc{k}": float(of_k[at, half]) for k, of_k in scores.top.items()},
        **{f"max_box_acc_{iou:g}": float(best) for iou, best in zip(scores.ious, scores.max_box_acc, strict=True)},
        "max_box_acc_v2": scores.max_box_acc_v2,
        **({} if found.pxap is None else {"pxap": found.pxap}),
        "top1": crops.top1[0],
        "top1_in_box": crops.top1[1],
        "map": crops.map[0],
        "map_in_box": crops.map[1],
    }
    best = {"best_fraction": float(scores.best_fractions[half])}
    return {"fraction": found.fraction, **best, **{name: round(100 * value, 4) for name, value in shares.items()}}


def _write(
    folder: Path,
    found: Mapping[str, Found],
    figures: Mapping[str, Mapping[str, float]],
    protocol: Mapping[str, object],
    seconds: float,
) -> None:
    """Write `scores.json`, `scores.csv`, `curves.csv` (of every fraction) and `boxes.csv` (every box)."""
    content = {"protocol": protocol, "unit": "percent", "seconds": round(seconds, 1), "kinds": figures}
    write_json(folder / "scores.json", content)
    columns = list(next(iter(figures.values())))
    rows = [[kind, *row.values()] for kind, row in figures.items()]
    write_scores(folder / "scores.csv", ["kind", *columns], rows, protocol)
    ious = [f"{iou:g}" for iou in next(iter(found.values())).scores.ious]
    header = ["kind", "fraction", *(f"box_acc_{iou}" for iou in ious), *(f"box_acc_v2_{iou}" for iou in ious)]
    curves: list[list[Any]] = [
        [kind, float(fraction), *np.round(100 * np.concatenate([largest, any_]), 2).tolist()]
        for kind, of_kind in found.items()
        for fraction, largest, any_ in zip(*of_kind.scores[:1], *of_kind.scores[2:4], strict=True)
    ]
    write_scores(folder / "curves.csv", header, curves, protocol)
    boxes = [
        [kind, image_id, c, *(box or ("", "", "", ""))]
        for kind, of_kind in found.items()
        for (image_id, c), box in of_kind.boxes.items()
    ]
    write_scores(folder / "boxes.csv", ["kind", "image", "class", "x0", "y0", "x1", "y1"], boxes, protocol)


def picture(run: Run, maps: DrawnMaps, truths: Mapping[str, Truth], found: Mapping[str, Found]) -> Image.Image:
    """A row for a class of an image, a column a kind: its map, the true boxes in green, the map's own in blue."""
    kinds = list(maps.folders)[:MOST_COLUMNS]
    pairs = list(next(iter(found.values())).boxes)
    most = min(run.config.report.num_images, MOST_ROWS)
    step = max(len(pairs) // most, 1)
    rows: list[list[RGB | None]] = []
    for image_id, c in pairs[::step][:most]:
        photo = np.array(read_image(run.data.image_path(image_id)))
        true = truths[image_id].boxes[c]
        row: list[RGB | None] = [with_boxes(photo, true, TRUE_COLOR)]
        for kind in kinds:
            seeds = load_seeds(maps.folders[kind] / f"{image_id}.npz")
            of_class = resize_maps(seeds.maps[seeds.classes == c], seeds.size)[0]
            overlay = with_boxes(heatmap_overlay(photo, of_class), true, TRUE_COLOR)
            box = found[kind].boxes[image_id, c]
            row.append(overlay if box is None else with_boxes(overlay, [box], FOUND_COLOR))
        rows.append(row)
    titles = [kind_name(kind).replace("∘", "·") for kind in kinds]  # which the font has
    return contact_sheet(rows, ["image", *titles])


def _table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """What is asked first, for the terminal."""
    named = {f"max_box_acc_{iou:g}": f"max {iou:g}" for iou in IOUS} | {"max_box_acc_v2": "max v2", "pxap": "PxAP"}
    named = {"gt_known": "GT-known", "loc1": "loc1", "loc5": "loc5"} | named
    shown = [name for name in named if name in next(iter(figures.values()))]
    table = plain_table()
    table.add_column("kind", overflow="fold")
    for name in ("fraction", *shown):
        table.add_column(named.get(name, name), justify="right", no_wrap=True)
    for kind, row in figures.items():
        table.add_row(kind_name(kind), f"{row['fraction']:.2f}", *(f"{row[name]:.1f}" for name in shown))
    return table
