"""Model files: tensors and plain values only, written whole, read without executing anything."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsss.errors import InputError, first_line, is_plain
from wsss.labels import VOID, palette
from wsss.models.backbones import Backbone, build_backbone
from wsss.models.loading import NO_MODEL, HoldsObjectsError, check_plain, check_tensors, load_plain
from wsss.writing import whole_file

FORMAT = 2  # 1 held neither palette, normalisation nor protocol


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
        content = load_plain(path)
        is_known = content["format"] <= FORMAT
        file = _of_content(content) if is_known else None
    except NO_MODEL as error:
        is_of_run = (path.parent / "manifest.json").exists()
        remedy = f"delete {path.parent} and run again" if is_of_run else "name another"
        reason = f" ({error})" if isinstance(error, HoldsObjectsError) else ""
        raise InputError(f"{path}: not a whole model file of wsss{reason}; {remedy}") from error
    if file is None:
        known = f"this version of wsss reads up to {FORMAT}"
        raise InputError(f"{path}: a model file of format {content['format']}, {known}; install a newer one")
    if file.kind not in kinds:
        raise InputError(f"{path}: holds a {file.kind}, expected {' or '.join(kinds)}")
    return file


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a training keeps of itself: `state_dict`, and more.

    Raises:
        InputError: if it is damaged, or holds anything but tensors and plain values.
    """
    try:
        content = load_plain(path)
        if not all(isinstance(tensor, Tensor) for tensor in content["state_dict"].values()):
            raise TypeError("a state without tensors")
    except NO_MODEL as error:
        raise InputError(f"{path}: damaged; delete it and run the step again") from error
    return dict(content)


@contextmanager
def building(path: str | Path) -> Iterator[None]:
    """Name the model file whose network cannot be built from what it says in the block."""
    try:
        yield
    except NO_MODEL as error:
        raise InputError(
            f"{path}: its network cannot be built ({first_line(error)}); use the version that wrote it"
        ) from error


def backbone_of(file: ModelFile) -> Backbone:
    """The backbone a file's network was built on, with random weights: its tensors follow from the state dict."""
    return build_backbone(**{**file.network["backbone"], "weights": "none"})


def _of_content(content: Mapping[str, Any]) -> ModelFile:
    kind, network, classes, state = (content[name] for name in ("kind", "network", "classes", "state_dict"))
    state = check_tensors(state)
    colors = content.get("palette") or _colors(len(classes))
    normalization = content.get("normalization") or _normalization(state)
    file = ModelFile(kind, network, classes, state, colors, normalization, content.get("protocol", {}))
    check_plain([kind, network, classes, colors, normalization, file.protocol])
    is_sound = (
        isinstance(kind, str)
        and all(isinstance(part, dict) for part in (network, normalization, file.protocol))
        and all(isinstance(name, str) and is_plain(name) for name in classes)
        and isinstance(classes, list)
        and 0 < len({*classes}) == len(classes) < VOID
        and len(colors) == len(classes) + 1
        and all(len(color) == 3 and all(type(v) is int and 0 <= v < 256 for v in color) for color in colors)
    )
    if not is_sound:
        raise ValueError("names, colours or options of another form")
    return file


def _colors(num_classes: int) -> list[list[int]]:
    return palette()[: num_classes + 1].tolist()


def _normalization(state: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Of the buffers that a network keeps it in, wherever they lie."""
    found = {name.rpartition(".")[2]: tensor for name, tensor in state.items() if tensor.numel() == 3}
    return {name: [round(v, 6) for v in found[name].flatten().tolist()] for name in ("mean", "std") if name in found}
