"""Reading what torch.save wrote, by whomever: tensors and plain values, nothing that runs or swells."""

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
MOST_VALUES = 10_000
LARGEST = 1e12  # of a tensor's numbers; beyond, their products soon are infinite
# What reading a foreign or damaged file, or building a network from what it says, may raise.
NO_MODEL = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, AssertionError, ArithmeticError, MemoryError, OSError, zipfile.BadZipFile),
)


class HoldsObjectsError(ValueError):
    """A file has more than tensors and plain values in it: to make its objects would run its code."""


def load_plain(path: Path, *, own: bool = True) -> Any:
    """What a file of torch holds, on the CPU.

    Args:
        path: the file.
        own: whether it is one of ours, which are archives with checksums. Those of others may be of the older form.

    Raises:
        `NO_MODEL`: if it is damaged, packed (which torch never does, and bombs do), or holds anything but tensors and
            plain values.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("a packed archive")
            if (torn := archive.testzip()) is not None:  # torch does not look
                raise ValueError(f"{torn} is damaged")
    elif own:
        raise ValueError("no archive")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error):  # global, class or operand, as torch's versions call it
            raise HoldsObjectsError("it holds objects whose making would run code; none was made") from error
        raise


def check_tensors(state: object) -> dict[str, Tensor]:
    """Names with tensors of numbers that can be reckoned with.

    Raises:
        ValueError: for anything else, naming it.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"tensors by name expected, not {type(state).__name__}")
    for name, tensor in state.items():
        if not (isinstance(name, str) and isinstance(tensor, Tensor)):
            raise ValueError(f"{name!r} is no tensor with a name")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise ValueError(f"{name} is not a plain tensor")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} claims more numbers than the file holds")
        if not (tensor.abs() <= LARGEST).all():  # NaN is not
            raise ValueError(f"{name} holds values that are no trained network's")
        if name.endswith("running_var") and (tensor < 0).any():
            raise ValueError(f"{name} holds variances below zero")
    return dict(state)


def check_plain(tree: object) -> None:
    """Refuse what is not made of lists, dictionaries, texts and numbers, or of too many: shared parts count each time.

    Raises:
        ValueError: saying so.
    """
    left = [tree]
    for _ in range(MOST_VALUES):
        if not left:
            return
        value = left.pop()
        if isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            left += value
        elif not isinstance(value, (str, int, float, type(None))):
            raise ValueError(f"a {type(value).__name__} is no plain value")
    raise ValueError(f"more than {MOST_VALUES} values")


def filled(build: Callable[[], Network], state: Mapping[str, Tensor], *, tried: bool = True) -> Network:
    """Build a network and give it a file's tensors.

    Args:
        build: makes the network.
        state: its tensors.
        tried: build it without memory first, so that what a file says of its network cannot ask for more than its
            tensors take.

    Raises:
        `NO_MODEL`: if it cannot be built, or the tensors are not its own.
    """
    if tried:
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in build().state_dict().items()}
        if wanted != {name: tensor.shape for name, tensor in state.items()}:
            raise ValueError("its tensors are not those of the network it names")
    network = build()
    network.load_state_dict(state)
    return network
