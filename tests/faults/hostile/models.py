"""Hostile model files, weights and checkpoints."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.faults.hostile.base import Bomb, Kind, damaged, mutated, noise
from tests.segmenters import save_small_segmenter
from wsss.models import Classifier, build_backbone, load_segmenter
from wsss.models.files import save_model
from wsss.models.weights import read_state_dict
from wsss.pipeline.networks import load_classifier


@cache
def _content(kind: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        if kind == "segmenter":
            save_small_segmenter(path)
        else:
            options = {"name": "test_efficientnet", "weights": "none", "output_stride": 16}
            network = Classifier(build_backbone(**options), 3)
            save_model(path, network, kind=kind, network={"backbone": options}, classes=["cat", "dog", "cow"])
        return torch.load(path, weights_only=True)


def _bytes(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def right(folder: Path, kind: str) -> Path:
    """A `segmenter` or `classifier` of random weights."""
    return _written(folder, kind, _bytes(_content(kind)))


def _of(rng: Random) -> tuple[str, dict[str, Any]]:
    kind = rng.choice(["segmenter", "classifier"])
    return kind, copy.deepcopy(_content(kind))


def _written(folder: Path, kind: str, content: bytes) -> Path:
    path = folder / f"{kind}.pt"
    path.write_bytes(content)
    return path


def _damaged(rng: Random, folder: Path) -> Path:
    kind, content = _of(rng)
    old = rng.random() < 0.2
    whole = _bytes(content, _use_new_zipfile_serialization=not old)
    return _written(folder, kind, damaged(rng, whole) if rng.random() < 0.9 else noise(rng, whole[:64]))


def _tensors(rng: Random, folder: Path) -> Path:
    """Tensors of another type, shape or value, missing, or under other names."""
    kind, content = _of(rng)
    state = content["state_dict"]
    name = rng.choice([*state, *[n for n in state if "mean" in n or "std" in n] * 20])
    tensor = state[name]
    view = torch.zeros(()).expand
    others: list[Any] = [
        *(
            tensor.to(d)
            for d in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.complex64)
        ),
        *(
            torch.full_like(tensor, v) if tensor.is_floating_point() else tensor
            for v in (float("nan"), float("inf"), 1e38)
        ),
        *(torch.zeros(s) for s in ((), (0,), (3,), (*tensor.shape, 1), tensor.shape[1:])),
        *(view(s) for s in ((10**6, 10**6), (10**9,), tensor.shape)),
        *(
            None,
            1,
            "x",
            [],
            {},
            tensor.to_sparse() if tensor.ndim else tensor,
            torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
        ),
        *(torch.zeros(tensor.shape, device="meta"), torch.nn.Parameter(tensor.float()), torch.Size([3])),
    ]
    deed = rng.random()
    if deed < 0.7:
        state[name] = rng.choice(others)
    elif deed < 0.8:
        del state[name]
    elif deed < 0.9:
        state[rng.choice(["x", "", "model." + name, 7, None])] = state.pop(name)
    else:
        content["state_dict"] = rng.choice([[], None, {}, 3, {"a": {"b": tensor}}, list(state.values())])
    return _written(folder, kind, _bytes(content))


def _options(rng: Random, folder: Path) -> Path:
    """Everything but tensors changed: format, kind, classes, palette, what the network is built from."""
    kind, content = _of(rng)
    state = content.pop("state_dict")
    if rng.random() < 0.5:
        content = mutated(rng, content)
    else:
        value = rng.choice(
            [10**9, 20_000, 10**5, 0, -1, 1.5, "8", None, [1] * 5000, "hf-hub:x/y", "../x", [], {}, float("nan")]
        )
        target = rng.choice([content["network"], content["network"]["backbone"], content])
        target[rng.choice([*target, "channels", "multi_scale_inputs", "pretrained", "device", "arch"])] = value
    if isinstance(content, dict):
        content["state_dict"] = state
    return _written(folder, kind, _bytes(content))


def _code(rng: Random, folder: Path) -> Path:
    """Code instead of a model, beside it, or in it, in all the forms that torch.load knows."""
    kind, content = _of(rng)
    form = rng.choice(["pickle", "whole", "inside", "old", "module", "script", "data.pkl", "numpy", "text"])
    if form == "pickle":
        return _written(folder, kind, pickle.dumps(Bomb(), rng.choice(range(6))))
    if form == "text":
        return _written(folder, kind, b"cos\nsystem\n(S'touch /tmp/wsss-hostile-code-ran'\ntR.")
    if form == "module":
        return _written(folder, kind, _bytes(torch.nn.Linear(2, 2)))
    if form == "numpy":
        content["classes"] = np.array(content["classes"], dtype=object)
        return _written(folder, kind, _bytes(content))
    if form == "script":
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
        return _written(folder, kind, buffer.getvalue())
    if form == "data.pkl":
        whole, path = io.BytesIO(_bytes(content)), folder / f"{kind}.pt"
        with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                target.writestr(name, pickle.dumps(Bomb(), 2) if name.endswith("data.pkl") else source.read(name))
        return path
    if form == "whole":
        return _written(folder, kind, _bytes(Bomb()))
    content[rng.choice(["protocol", "network", "further", "state_dict", "format"])] = Bomb()
    return _written(folder, kind, _bytes(content, _use_new_zipfile_serialization=form != "old"))


def _bomb(rng: Random, folder: Path) -> Path:
    """Zeros packed a thousandfold, or values that grow while they are unpickled."""
    kind, content = _of(rng)
    form, path = rng.choice(["packed", "bytes", "nested", "laughs"]), folder / f"{kind}.pt"
    if form == "packed":
        content["state_dict"]["further"] = torch.zeros(2)
        whole = io.BytesIO(_bytes(content))
        with (
            zipfile.ZipFile(whole) as source,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
        ):
            for name in source.namelist():
                long = name.endswith("/data/0")
                target.writestr(name, bytes(600_000_000) if long else source.read(name))
        return path
    if form == "bytes":  # builtins.bytearray(10**10), which the restricted unpickler lets through
        return _written(folder, kind, b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R.")
    if form == "nested":
        return _written(folder, kind, b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    tree: Any = ["lol"] * 10
    for _ in range(30):
        tree = [tree] * 10
    content["protocol"] = {"data": tree}
    return _written(folder, kind, _bytes(content))


def read_network(path: Path) -> None:
    """As prediction and the making of seeds do; finite scores of right shape."""
    if path.stem == "segmenter":
        segmenter = load_segmenter(path)
        labels = segmenter(Image.new("RGB", (40, 33)))
        assert labels.shape == (33, 40) and labels.dtype == np.uint8 and labels.max() <= len(segmenter.classes)
        assert np.isfinite(segmenter.probabilities(Image.new("RGB", (40, 33)))).all()
        assert segmenter.palette.shape == (len(segmenter.classes) + 1, 3)
        assert all(isinstance(name, str) for name in segmenter.classes)
    else:
        network = load_classifier(path).eval()
        with torch.inference_mode():
            logits = network(torch.zeros(1, 3, 40, 33))
        assert logits.shape[0] == 1 and logits.isfinite().all()


def read_weights(path: Path) -> None:
    """As `backbone.weights=<file>` does."""
    state = read_state_dict(path)
    assert all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items())


KINDS = [
    Kind("model, damaged", _damaged, read_network, 3),
    Kind("model, wrong tensors", _tensors, read_network, 3),
    Kind("model, wrong options", _options, read_network, 3),
    Kind("model, code in it", _code, read_network, 3),
    Kind("model, bomb", _bomb, read_network, 0.2),
    Kind("weights, damaged", _damaged, read_weights),
    Kind("weights, wrong tensors", _tensors, read_weights),
    Kind("weights, code in them", _code, read_weights),
]
