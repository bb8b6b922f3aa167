"""A trained segmenter as a graph of its own: ONNX, also in int8, or torch.export; checked on photographs."""

import importlib.util
import json
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.export import ExportedProgram

import wsss
from wsss.data import check_masks, eval_transform, read_mask, read_split
from wsss.errors import InputError, first_line
from wsss.metrics import confusion_matrix, iou
from wsss.models import SegmentationNetwork, Segmenter, grown_labels, load_segmenter
from wsss.photographs import image_size, read_image
from wsss.pipeline.config import DataConfig
from wsss.pipeline.config.scripts import ExportConfig
from wsss.pipeline.graphs import SMALLEST, Graph, add_metadata, onnx_graph, pt2_graph, quantize, trace, write_onnx
from wsss.pipeline.predict import find_photographs
from wsss.pipeline.ranges import require
from wsss.pipeline.run import describe_data, open_run
from wsss.progress import follow

log = logging.getLogger(__name__)
T = TypeVar("T")

CHECK_SIZES = ((97, 131), (160, 161), (255, 322))  # height and width: odd ones, because sizes are what graphs get wrong
TOLERANCE = 1e-3  # of a logit
AGREEMENT = 0.999  # share of the labels
MOST_LONG = 1536  # longer side at most, in pixels, of photographs that are scored at their own size
QUANTIZATIONS = ("static", "dynamic")


class Material(NamedTuple):
    """What an export is checked with.

    Attributes:
        name: how the figures call it.
        calibrating: photographs to calibrate by.
        checking: photographs to check with.
        masks: their true masks; empty if there are none.
    """

    name: str
    calibrating: list[Path]
    checking: list[Path]
    masks: list[Path]


def export_model(config: ExportConfig) -> dict[str, Any]:
    """Write a segmenter as a graph, after checking that it computes what the network does.

    Returns:
        What `compare` tells of the graph, and under `int8` what `score` tells of the quantised one.

    Raises:
        InputError: for anything wrong with the options, for a missing package, or if the graph computes something else;
            nothing is written then.
    """
    out = Path(config.out)
    _check(config)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={out}: its folder cannot be made ({error.strerror}); choose another") from error
    segmenter = load_segmenter(config.checkpoint)
    material = _material(config, segmenter)
    program = trace(segmenter.model)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        draft = Path(folder) / out.name
        write = _write_pt2 if out.suffix == ".pt2" else partial(_write_onnx, opset=config.opset)
        figures = write(program, draft, segmenter, material)
        _log_check(out, draft, figures)
        if config.quantize is not None:
            small = draft.with_suffix(".int8.onnx")
            figures["int8"] = _write_int8(draft, small, config.quantize, segmenter, material)
            _log_score(out.with_name(small.name), small, figures["int8"])
        for file in Path(folder).iterdir():
            file.replace(out.parent / file.name)
    return figures


def _write_pt2(program: ExportedProgram, path: Path, segmenter: Segmenter, material: Material) -> dict[str, Any]:
    torch.export.save(program, path, extra_files={"wsss.json": json.dumps(_facts(segmenter))})
    return compare(segmenter.model, pt2_graph(path), material.checking)


def _write_onnx(
    program: ExportedProgram, path: Path, segmenter: Segmenter, material: Material, *, opset: int
) -> dict[str, Any]:
    write_onnx(program, path, opset=opset)
    figures = compare(segmenter.model, onnx_graph(path), material.checking)
    add_metadata(path, _facts(segmenter) | {"opset": opset, "checked": figures})
    return figures


def _write_int8(full: Path, path: Path, method: str, segmenter: Segmenter, material: Material) -> dict[str, Any]:
    pixels = (_seen(read_image(photograph), segmenter) for photograph in material.calibrating)
    quantize(full, path, method, pixels)
    figures = score(onnx_graph(path), onnx_graph(full), material, segmenter)
    add_metadata(path, _facts(segmenter) | {"int8": method, "checked": figures})
    return figures


def compare(network: SegmentationNetwork, graph: Graph, photographs: Sequence[Path]) -> dict[str, Any]:
    """Hold a graph against its network on photographs at `CHECK_SIZES`, in batches of one, two, three.

    Returns:
        `difference`, the largest of a logit; `agreement`, share of equal labels; `sizes`.

    Raises:
        InputError: if they differ by more than `TOLERANCE` or `AGREEMENT` allow.
    """
    remedy = "choose another network, or the other format (.onnx, .pt2)"
    difference, equal = 0.0, []
    for number, (height, width) in enumerate(CHECK_SIZES, start=1):
        chosen = [photographs[i % len(photographs)] for i in range(number)]
        images = np.concatenate([_pixels(read_image(path).resize((width, height))) for path in chosen])
        try:
            logits, labels = graph(images)
        except Exception as error:  # each runtime has its own
            raise InputError(f"the graph fails at {height} × {width} pixels ({first_line(error)}); {remedy}") from error
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).numpy()
        difference = max(difference, float(np.abs(logits - expected).max()))
        equal.append((labels == expected.argmax(axis=1)).ravel())
    agreement = float(np.concatenate(equal).mean())
    if not (difference <= TOLERANCE and agreement >= AGREEMENT):
        told = f"logits by up to {difference:.1e}, {1 - agreement:.2%} of the labels"
        raise InputError(f"the graph differs from its network ({told}); {remedy}")
    return {"difference": difference, "agreement": agreement, "sizes": [f"{h}×{w}" for h, w in CHECK_SIZES]}


def score(small: Graph, full: Graph, material: Material, segmenter: Segmenter) -> dict[str, Any]:
    """What a quantised graph loses against the full one, on photographs as the segmenter sees them.

    Returns:
        `agreement`, share of equal labels; `seconds` and `float_seconds` an image; `data` and `images`, what it was
        measured on; with true masks also `miou` and `float_miou` in percent, and their difference `miou_loss`.
    """
    num_labels = len(segmenter.classes) + 1
    seconds, confusion = np.zeros(2), np.zeros((2, num_labels, num_labels + 1), np.int64)
    equal = pixels = 0
    for number, path in enumerate(follow(material.checking, "scoring")):
        image = read_image(path)
        seen, label_maps = _seen(image, segmenter), []
        for which, graph in enumerate((small, full)):
            start = time.perf_counter()
            logits, _ = graph(seen)
            seconds[which] += time.perf_counter() - start
            label_maps.append(grown_labels(torch.from_numpy(logits), (image.height, image.width))[0].numpy())
        equal += int((label_maps[0] == label_maps[1]).sum())
        pixels += label_maps[0].size
        if material.masks:
            truth = read_mask(material.masks[number])
            confusion += [confusion_matrix(truth, labels, num_labels) for labels in label_maps]
    own, float_own = (seconds / len(material.checking)).round(4).tolist()
    figures = {"agreement": equal / pixels, "seconds": own, "float_seconds": float_own}
    if material.masks:
        miou, float_miou = (100 * float(iou(counts).mean) for counts in confusion)
        figures |= {"miou": miou, "float_miou": float_miou, "miou_loss": float_miou - miou}
    return figures | {"data": material.name, "images": len(material.checking)}


def _check(config: ExportConfig) -> None:
    is_onnx = config.out.endswith(".onnx")
    require(config, "out", lambda out: is_onnx or out.endswith(".pt2"), "a name that ends in .onnx or .pt2")
    require(config, "quantize", lambda method: method in QUANTIZATIONS, f"one of {', '.join(QUANTIZATIONS)}")
    require(config, "quantize", lambda _: is_onnx, "none, or an out that ends in .onnx")
    require(config, "opset", lambda opset: opset >= 18, "at least 18")
    for name in ("calibration", "limit_images"):
        require(config, name, lambda number: number >= 1, "at least 1")
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if is_onnx and missing:
        raise InputError(f"ONNX needs `pip install {' '.join(missing)}` (the extra onnx); or pass out=<name>.pt2")


def _material(config: ExportConfig, segmenter: Segmenter) -> Material:
    """Photographs of `images`, of `data`, or of the run that the checkpoint lies in."""
    if config.images is not None:
        _, found = find_photographs(config.images, Path(config.out))
        paths = [photo.path for photo in found]
        calibrating, checking = paths[::2], paths[1::2] or paths  # what calibrates is not what the loss is told on
        material = Material(
            config.images, _spread(calibrating, config.calibration), checking[: config.limit_images], []
        )
    else:
        material = _material_of_data(config, segmenter)
    for path in (*material.calibrating, *material.checking):
        image_size(path)  # tells early of what is no photograph
    return material


def _material_of_data(config: ExportConfig, segmenter: Segmenter) -> Material:
    data = config.data if config.data.root else _data_of_run(Path(config.checkpoint))
    description = describe_data(data)
    train, val = (read_split(description, split) for split in (data.train, data.val))
    val = val[: config.limit_images]
    masks = []
    if description.has_masks(val):
        if list(description.classes) != segmenter.classes:
            names = f"{', '.join(description.classes)}, the model's are {', '.join(segmenter.classes)}"
            raise InputError(
                f"data.root={data.root}: its classes are {names}; pass the model's data, or images=<photos>"
            )
        check_masks(description, val, description.root / description.mask_folder)
        masks = [description.mask_path(image_id) for image_id in val]
    calibrating = [description.image_path(image_id) for image_id in _spread(train, config.calibration)]
    checking = [description.image_path(image_id) for image_id in val]
    return Material(f"{description.name} {data.val}", calibrating, checking, masks)


def _data_of_run(checkpoint: Path) -> DataConfig:
    folder = checkpoint.resolve().parents[1]
    if not (folder / "config.yaml").is_file():
        raise InputError(
            f"{checkpoint}: lies in no run, whose photographs would serve; "
            "pass data.root=<data set> or images=<photographs>"
        )
    return open_run(folder).config.data


def _spread(items: Sequence[T], number: int) -> list[T]:
    """So many items, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def _facts(segmenter: Segmenter) -> dict[str, object]:
    """What whoever has the file alone must know."""
    return {
        "input": f"images: RGB, uint8, (batch, 3, height, width), sides of {SMALLEST} or more; normalised inside",
        "outputs": "logits: float32, (batch, labels, height, width); labels: uint8, (batch, height, width)",
        "labels": ["background", *segmenter.classes],
        "palette": segmenter.palette.tolist(),
        "resize_long": segmenter.inference.resize_long,
        "protocol": segmenter.protocol,
        "wsss": wsss.__version__,
    }


def _seen(image: Image.Image, segmenter: Segmenter) -> NDArray[np.uint8]:
    """A photograph at the size the segmenter sees it, (1, 3, H, W); at most `MOST_LONG` where that is its own."""
    return _pixels(eval_transform(segmenter.inference.resize_long or min(max(image.size), MOST_LONG))(image))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """(1, 3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)[None])


def _log_check(out: Path, file: Path, figures: Mapping[str, Any]) -> None:
    log.info(
        "%s: %.1f MB; at %s logits within %.1e of torch's, %.3f %% of the labels equal",
        out,
        file.stat().st_size / 1e6,
        ", ".join(figures["sizes"]),
        figures["difference"],
        100 * figures["agreement"],
    )


def _log_score(out: Path, file: Path, figures: Mapping[str, Any]) -> None:
    scored = "no masks to score against"
    if "miou" in figures:
        scored = "mIoU {miou:.1f}, in float {float_miou:.1f}: {miou_loss:.1f} lost".format(**figures)
    log.info(
        "%s: %.1f MB; on %s, %d images: %.2f %% of the labels equal, %s; %.3f s an image, in float %.3f",
        out,
        file.stat().st_size / 1e6,
        figures["data"],
        figures["images"],
        100 * figures["agreement"],
        scored,
        figures["seconds"],
        figures["float_seconds"],
    )
