"""Model files: tensors and plain values only, written whole, read without executing anything."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsss.errors import InputError
from wsss.labels import palette
from wsss.models.backbones import Backbone, build_backbone
from wsss.writing import whole_file

FORMAT = 2  # 1 held neither palette, normalisation nor protocol
# What reading a foreign or damaged file may raise.
_NO_MODEL = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, AssertionError, OverflowError),
)


class ModelFile(NamedTuple):
    """What a model file holds: how to build the network, its tensors, and what they mean.

    Attributes:
        kind: classifier, recam, irn, psa or segmenter.
        network: plain values from which it is built again.
        classes: names without background.
        state_dict: its tensors.
        palette: colour [red, green, blue] of each label, background first.
        normalization: `mean` and `std` of each channel of an image in [0, 1]; the network applies them itself.
        protocol: how it was trained: data set, split, number of images, masks, random seed …; empty if unknown.
    """

    kind: str
    network: dict[str, Any]
    classes: list[str]
    state_dict: dict[str, Tensor]
    palette: list[list[int]]
    normalization: dict[str, list[float]]
    protocol: dict[str, Any]


def save_model(
    path: Path,
    model: nn.Module,
    *,
    kind: str,
    network: dict[str, Any],
    classes: list[str],
    protocol: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, see `ModelFile`.

    Args:
        path: file to write; its folder must exist.
        model: the network; its tensors are stored on the CPU.
        kind: which class it is, checked on loading.
        network: plain values from which it is built again; `backbone` holds `build_backbone`'s arguments.
        classes: names without background.
        protocol: plain values.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    file = ModelFile(kind, network, classes, state, _colors(len(classes)), _normalization(state), dict(protocol or {}))
    with whole_file(path) as opened:
        torch.save({"format": FORMAT, **file._asdict()}, opened)


def read_model(path: str | Path, *, kinds: tuple[str, ...]) -> ModelFile:
    """Read a model file.

    Raises:
        InputError: if it is missing, broken, of another kind, or of a newer format than this version knows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such model; train it first (see outputs/<run>), or check run=<name>")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        is_known = content["format"] <= FORMAT
        file = _of_content(content) if is_known else None
    except _NO_MODEL as error:
        is_of_run = (path.parent / "manifest.json").exists()
        remedy = f"delete {path.parent} and run again" if is_of_run else "name another"
        raise InputError(f"{path}: not a whole model file of wsss; {remedy}") from error
    if file is None:
        known = f"this version of wsss reads up to {FORMAT}"
        raise InputError(f"{path}: a model file of format {content['format']}, {known}; install a newer one")
    if file.kind not in kinds:
        raise InputError(f"{path}: holds a {file.kind}, expected {' or '.join(kinds)}")
    return file


def backbone_of(file: ModelFile) -> Backbone:
    """The backbone a file's network was built on, with random weights: its tensors follow from the state dict."""
    return build_backbone(**{**file.network["backbone"], "weights": "none"})


def _of_content(content: Mapping[str, Any]) -> ModelFile:
    kind, network, classes, state = (content[name] for name in ("kind", "network", "classes", "state_dict"))
    colors = content.get("palette") or _colors(len(classes))
    normalization = content.get("normalization") or _normalization(state)
    return ModelFile(kind, network, classes, state, colors, normalization, content.get("protocol", {}))


def _colors(num_classes: int) -> list[list[int]]:
    return palette()[: num_classes + 1].tolist()


def _normalization(state: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Of the buffers that a network keeps it in, wherever they lie."""
    found = {name.rpartition(".")[2]: tensor for name, tensor in state.items()}
    return {name: [round(v, 6) for v in found[name].flatten().tolist()] for name in ("mean", "std") if name in found}
