"""Pictures of what a classifier looks at: maps of any network, stage by stage and fused, for any photograph."""

import difflib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wsss.cam import CAMExtractor, excitation_backprop, fuse, guided_backprop, guided_cam, normalize, resize
from wsss.cam.layers import stage_layers
from wsss.cam.tokens import patch_size
from wsss.data import eval_transform, read_image
from wsss.errors import InputError, first_line
from wsss.models.imagenet import ImageClassifier, imagenet_classifier
from wsss.pipeline.config.scripts import ExplainConfig
from wsss.pipeline.maps import STAGE_KINDS
from wsss.pipeline.networks import classifier_of, read_classifier
from wsss.pipeline.ranges import require
from wsss.report.overlays import contact_sheet, heatmap_overlay, signed_picture
from wsss.writing import whole_file

log = logging.getLogger(__name__)

KINDS = ("cam", *STAGE_KINDS)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def explain(config: ExplainConfig) -> list[Path]:
    """Draw each photograph; writes `<out>/<name>.png` and `<name>.npz`, see `write_arrays`.

    Returns:
        The pictures.

    Raises:
        InputError: for anything that is wrong with the options or the image.
    """
    _check(config)
    paths = list(find_images(Path(config.image)))
    model = load_model(config)
    wanted = None if config.classes is None else [find_class(name, model.classes) for name in config.classes]
    folder = Path(config.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={folder}: cannot be made ({error.strerror}); choose another folder") from error
    stems = Counter(path.stem for path in paths)
    drawn = []
    for path in paths:
        name = path.stem if stems[path.stem] == 1 else path.name
        try:
            photo = read_image(path)
        except InputError as error:
            if len(paths) == 1:
                raise
            log.warning("left out: %s", error)
            continue
        drawn.append(_explain_one(config, model, wanted, photo, folder / name))
    return drawn


def find_images(path: Path) -> Iterator[Path]:
    """The file itself, or the images of a folder by name.

    Raises:
        InputError: if there is none.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(f"{path}: no image in this folder; expected {', '.join(SUFFIXES)}")
        yield from found
    elif path.is_file():
        yield path
    else:
        raise InputError(f"{path}: no such image or folder; pass image=<path>")


def load_model(config: ExplainConfig) -> ImageClassifier:
    """An ImageNet classifier, or a run's own."""
    path = Path(config.model)
    if path.suffix != ".pt":
        return imagenet_classifier(config.model, config.weights)
    file = read_classifier(path)
    network = classifier_of(file, path).eval()
    return ImageClassifier(network, file.classes, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # it normalises by itself


def find_class(name: str, classes: Sequence[str]) -> int:
    """Index of a class given by its name or its index.

    Raises:
        InputError: if there is none; names the nearest.
    """
    if name.isdigit() and int(name) < len(classes):
        return int(name)
    if name in classes:
        return list(classes).index(name)
    near = difflib.get_close_matches(name, classes, n=3, cutoff=0.5)
    hint = f"; near: {', '.join(near)}" if near else f"; expected a name or 0 to {len(classes) - 1}"
    raise InputError(f"classes: no class {name!r}{hint}")


def _check(config: ExplainConfig) -> None:
    require(config, "cam", lambda cam: cam in KINDS, f"one of {', '.join(KINDS)}")
    require(config, "fusion", lambda fusion: fusion in ("mean", "max"), "one of mean, max")
    for name in ("classes", "layers"):
        require(config, name, lambda values: len(values) > 0, "at least one entry")
    require(config, "top", lambda top: top >= 1, "at least 1")
    require(config, "resize_long", lambda pixels: pixels >= 32, "at least 32")


def _explain_one(
    config: ExplainConfig, model: ImageClassifier, wanted: list[int] | None, image: Image.Image, out: Path
) -> Path:
    photo = _of_whole_patches(eval_transform(config.resize_long)(image), patch_size(model))
    pixels = np.array(photo)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
    try:
        with torch.no_grad():
            scores = model(images)[0]
    except (AssertionError, RuntimeError, ValueError) as error:  # networks of one input size, and the like
        refused = f"{photo.height} × {photo.width}"
        raise InputError(f"model={config.model}: refuses an image of {refused} ({first_line(error)})") from error
    classes = scores.topk(min(config.top, len(scores))).indices.tolist() if wanted is None else wanted
    layers = config.layers or stage_layers(model, images)
    try:
        maps = _maps(model, images, classes, layers, config.cam)
        gradients = guided_backprop(model, images, [classes])[0] if config.guided else None  # (K, 3, H, W)
    except ValueError as error:
        raise InputError(str(error)) from error
    size = (photo.height, photo.width)
    fused = fuse(list(maps.values()), size, mode=config.fusion)  # type: ignore[arg-type]  # checked above
    guided = None if gradients is None else guided_cam(fused, gradients)
    write_arrays(out.with_name(f"{out.name}.npz"), maps, fused, classes, scores, model.classes, guided)
    sheet = out.with_name(f"{out.name}.png")
    with whole_file(sheet) as file:
        _draw(pixels, maps, fused, [model.classes[c] for c in classes], size, guided).save(file, "PNG")
    named = ", ".join(f"{model.classes[c]} {float(scores[c]):.2f}" for c in classes)
    log.info("%s: %s", out.name, named)
    return sheet


def _maps(
    model: ImageClassifier, images: Tensor, classes: list[int], layers: Sequence[str], kind: str
) -> dict[str, Tensor]:
    """Layer -> maps (K, h, w) of one image's classes."""
    if kind == "c_mwp":
        return {name: excitation_backprop(model, images, [classes], name)[0] for name in layers}
    with CAMExtractor(model, layers, kind) as extractor:
        return {name: drawn[0] for name, drawn in extractor(images, [classes]).items()}


def write_arrays(
    path: Path,
    maps: dict[str, Tensor],
    fused: Tensor,
    classes: Sequence[int],
    scores: Tensor,
    names: Sequence[str],
    guided: Tensor | None = None,
) -> None:
    """Write an npz of plain arrays.

    `fused` (K, H, W) in [0, 1]; `map_<layer>` (K, h, w), not normalised; `classes` (K,), `names` (K,), `scores` (K,);
    where asked for, `guided` (K, 3, H, W).
    """
    arrays: dict[str, Any] = {f"map_{name}": drawn.numpy() for name, drawn in maps.items()}
    arrays |= {} if guided is None else {"guided": guided.numpy()}
    with whole_file(path) as file:
        np.savez_compressed(
            file,
            fused=fused.numpy(),
            classes=np.array(classes),
            names=np.array([names[c] for c in classes]),
            scores=scores[list(classes)].numpy(),
            **arrays,
        )


def _draw(
    pixels: NDArray[np.uint8],
    maps: dict[str, Tensor],
    fused: Tensor,
    names: Sequence[str],
    size: tuple[int, int],
    guided: Tensor | None = None,
) -> Image.Image:
    """A row a class: the photograph, each layer's map, the fused one, and this times the guided gradient."""
    columns = {name: normalize(resize(drawn, size)) for name, drawn in maps.items()} | {"fused": normalize(fused)}
    rows = []
    for k in range(len(names)):
        overlays = [heatmap_overlay(pixels, drawn[k].numpy()) for drawn in columns.values()]
        overlays += [] if guided is None else [signed_picture(guided[k].permute(1, 2, 0).numpy())]
        rows.append([_titled(pixels, names[k]), *overlays])
    titles = ["image", *(name.removeprefix("network.").removeprefix("backbone.stages.") for name in columns)]
    titles += [] if guided is None else ["guided"]
    return contact_sheet(rows, titles, cell=220)


def _of_whole_patches(photo: Image.Image, patch: tuple[int, int] | None) -> Image.Image:
    """The photograph at the nearest size that holds a whole number of patches."""
    if patch is None:
        return photo
    height, width = (max(round(side / p), 1) * p for side, p in zip((photo.height, photo.width), patch, strict=True))
    return photo.resize((width, height), Image.Resampling.BILINEAR)


def _titled(pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The photograph with the class's name in its corner."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(image.height // 14, 10))
    box = draw.textbbox((4, 3), name, font=font)
    draw.rectangle((0, 0, box[2] + 4, box[3] + 3), fill=(0, 0, 0))
    draw.text((4, 3), name, fill=(255, 255, 255), font=font)
    return np.array(image)
