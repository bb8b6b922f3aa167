"""Write a model file of each kind and a seed file in the format of the version of wsss that is imported.

    PYTHONPATH=<a checkout> python tests/faults/formats/make.py <folder>

The weights repeat a few values, so that the packed files are small; what the networks make of an image is kept beside.
"""

import lzma
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wsss.models import Classifier, build_backbone, build_segmentation, load_segmenter
from wsss.models.files import save_model
from wsss.seeds import save_seeds

CLASSES = ["bird", "cow", "fish"]
BACKBONE = {"name": "test_efficientnet", "weights": "none", "output_stride": 16}
HEAD = {"channels": 8, "skip_channels": 4, "atrous_rates": [1, 2]}
IMAGE = (np.arange(48 * 64 * 3) * 7 % 256).astype(np.uint8).reshape(48, 64, 3)
SEEDS = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
SEED_CLASSES = [0, 2]
SIZE = (12, 16)


def batch() -> torch.Tensor:
    """`IMAGE` as the networks take it, (1, 3, 48, 64)."""
    return torch.from_numpy(IMAGE).permute(2, 0, 1)[None]


def _filled(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.numel() > 3:
                steps = (torch.arange(tensor.numel()) % 5).reshape(tensor.shape)
                tensor.copy_((steps - 1.9) / (3 * tensor[0].numel() ** 0.5) if tensor.ndim > 1 else 1 + steps / 8)
    return network.eval()


def _packed(path: Path) -> None:
    path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9))
    path.unlink()


def main(folder: Path) -> None:
    """Write all of them, and what is to come out."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {kind: folder / f"{kind}.pt" for kind in ("classifier", "segmenter")}
    classifier = _filled(Classifier(build_backbone(**BACKBONE), len(CLASSES)))
    save_model(paths["classifier"], classifier, kind="classifier", network={"backbone": BACKBONE}, classes=CLASSES)
    network = {"name": "deeplab_v3plus", "backbone": BACKBONE, "resize_long": None, **HEAD}
    segmenter = _filled(build_segmentation("deeplab_v3plus", len(CLASSES) + 1, backbone=BACKBONE, head=HEAD))
    save_model(paths["segmenter"], segmenter, kind="segmenter", network=network, classes=CLASSES)
    save_seeds(folder / "seeds.npz", SEEDS, SEED_CLASSES, SIZE)
    with torch.inference_mode():
        logits = classifier(batch())[0].numpy()  # (N,)
    shares = load_segmenter(paths["segmenter"]).probabilities(IMAGE).mean(axis=(1, 2))  # (L,)
    np.savez_compressed(folder / "expected.npz", logits=logits, shares=shares)
    for path in paths.values():
        _packed(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
