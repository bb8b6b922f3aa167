"""Model files: tensors and plain values only, written whole, read without executing anything."""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsss.errors import InputError
from wsss.models.backbones import Backbone, build_backbone
from wsss.writing import whole_file

FORMAT = 1
# What reading a foreign or damaged file may raise.
_NO_MODEL = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, AssertionError, OverflowError),
)


class ModelFile(NamedTuple):
    """What a model file holds: how to build the network, its classes, its tensors."""

    kind: str
    network: dict[str, Any]
    classes: list[str]
    state_dict: dict[str, Tensor]


def save_model(path: Path, model: nn.Module, *, kind: str, network: dict[str, Any], classes: list[str]) -> None:
    """Write a model.

    Args:
        path: file to write; its folder must exist.
        model: the network; its tensors are stored on the CPU.
        kind: which class it is, checked on loading.
        network: plain values from which it is built again; `backbone` holds `build_backbone`'s arguments.
        classes: names without background.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = {"format": FORMAT, "kind": kind, "network": network, "classes": classes, "state_dict": state}
    with whole_file(path) as file:
        torch.save(content, file)


def read_model(path: str | Path, *, kinds: tuple[str, ...]) -> ModelFile:
    """Read a model file.

    Raises:
        InputError: if it is missing, broken, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such model; train it first (see outputs/<run>), or check run=<name>")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        file = ModelFile(content["kind"], content["network"], content["classes"], content["state_dict"])
    except _NO_MODEL as error:
        raise InputError(f"{path}: not a whole model file; delete {path.parent} and train it again") from error
    if file.kind not in kinds:
        raise InputError(f"{path}: holds a {file.kind}, expected {' or '.join(kinds)}")
    return file


def backbone_of(file: ModelFile) -> Backbone:
    """The backbone a file's network was built on, with random weights: its tensors follow from the state dict."""
    return build_backbone(**{**file.network["backbone"], "weights": "none"})
