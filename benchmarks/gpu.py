"""What a GPU does in a second: training, seeds, dense CRF and random walk at the sizes of PASCAL VOC.

    python benchmarks/gpu.py [--seconds 2] [--only seeds]

Images lie on the GPU already, so that loading, which is the processor's (benchmarks/loading.py), is left out. Networks
are ResNet-50 with random weights; "TF32" is float32 as torch multiplies it by default. Figures are medians of the calls
that fit in the time given to each, after two that are not counted; memory is the most that torch has held. The last
column is what the 10,582 images of VOC's trainaug would take at this rate: for training, one epoch.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measuring import store
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from wsss import _torchvision  # noqa: F401  (lets torchvision load)
from wsss.masks import CRFParams, random_walk, refine_batch
from wsss.models import DeepLabV3Plus, ReCAMClassifier, build_backbone, fold_batch_norm, recam_loss
from wsss.pipeline.config import CamConfig
from wsss.pipeline.maps import draw_maps

ROOT = Path(__file__).resolve().parents[1]
TRAINAUG = 10_582
HEIGHT, WIDTH = 375, 500
PRECISIONS = {"TF32": None, "bf16": torch.bfloat16}


class Case(NamedTuple):
    """What makes a call, after which `images` images are done."""

    part: str
    name: str
    images: int
    make: Callable[[], Callable[[], object]]


def recam_network() -> ReCAMClassifier:
    """ResNet-50 at stride 16 with ReCAM's heads for twenty classes."""
    return ReCAMClassifier(build_backbone("resnet50", weights="none"), 20, fc2_init="default").cuda()


def pictures(batch: int, height: int, width: int) -> Tensor:
    """Random photographs (B, 3, H, W) on the GPU."""
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, device="cuda")


def step_of(network: nn.Module, loss: Callable[[], Tensor], dtype: torch.dtype | None) -> Callable[[], object]:
    """One step of SGD."""
    network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def classifier_training(batch: int, dtype: torch.dtype | None) -> Callable[[], object]:
    """BCE, crops of 512."""
    network, images = recam_network(), pictures(batch, 512, 512)
    labels = (torch.rand(batch, 20, device="cuda") < 0.1).float()
    return step_of(network, lambda: F.binary_cross_entropy_with_logits(network(images), labels), dtype)


def recam_training(batch: int, dtype: torch.dtype | None) -> Callable[[], object]:
    """BCE and SCE, crops of 512, 1.5 classes an image."""
    network, images = recam_network(), pictures(batch, 512, 512)
    labels = torch.eye(20, device="cuda").repeat(batch, 1)[:batch]
    labels[::2] += labels[::2].roll(3, dims=1)

    def loss() -> Tensor:
        return recam_loss(network.features(images), network.fc1_weight, network.fc2_weight, labels, weight=1.0)["loss"]

    return step_of(network, loss, dtype)


def segmenter_training(batch: int, dtype: torch.dtype | None) -> Callable[[], object]:
    """DeepLab v3+ at stride 16, crops of 512."""
    network = DeepLabV3Plus(build_backbone("resnet50", weights="none"), 21).cuda()
    images, masks = pictures(batch, 512, 512), torch.randint(0, 21, (batch, 512, 512), device="cuda")

    def loss() -> Tensor:
        logits = F.interpolate(network.logits(images), size=(512, 512), mode="bilinear")
        return F.cross_entropy(logits.float(), masks)

    return step_of(network, loss, dtype)


def seeds(batch: int, dtype: torch.dtype | None, kinds: list[str]) -> Callable[[], object]:
    """Maps of the present classes (1.5 an image) at the published four scales with their flips, brought to the CPU."""
    network, images = recam_network().eval().requires_grad_(False), pictures(batch, HEIGHT, WIDTH)
    network.backbone = fold_batch_norm(network.backbone, torch.rand(1, 3, 64, 64, device="cuda"))
    present = [[i % 20] if i % 2 else [i % 20, (i + 3) % 20] for i in range(batch)]
    config = CamConfig(scales=[0.5, 1.0, 1.5, 2.0], layer_scales=[0.5, 1.0, 1.5, 2.0], flip=True)

    def draw() -> object:
        with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            drawn = draw_maps(network, images, present, kinds, config)
        return {kind: [one.cpu() for one in maps] for kind, maps in drawn.items()}

    return draw


def crf(batch: int) -> Callable[[], object]:
    """Two classes and background, ten iterations, from labels to labels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (batch, 25, 34, 3), dtype=np.uint8)
    images = np.kron(coarse, np.ones((1, 15, 15, 1), np.uint8))[:, :HEIGHT, :WIDTH]
    images = (images + rng.integers(0, 20, images.shape)).clip(0, 255).astype(np.uint8)
    labels = [np.kron(rng.integers(0, 3, (25, 34)), np.ones((15, 15), int))[None, :HEIGHT, :WIDTH] for _ in images]
    return lambda: refine_batch(images, labels, [3] * batch, CRFParams(), device="cuda")


def walk() -> Callable[[], object]:
    """256 steps of two classes on a quarter of the photograph's size."""
    maps, edge = torch.rand(2, 94, 125, device="cuda"), torch.rand(94, 125, device="cuda")
    return lambda: random_walk(maps, edge).cpu()


def cases() -> list[Case]:
    """In the order of the pipeline; each is built when its turn comes."""
    found = []
    trainings = {"classifier": classifier_training, "ReCAM": recam_training, "DeepLab v3+": segmenter_training}
    for part, make in trainings.items():
        for name, dtype in PRECISIONS.items():
            found.append(Case("train", f"{part}, {name}, batches of 16", 16, lambda m=make, d=dtype: m(16, d)))
    maps = {"ReCAM": ["recam"], "LayerCAM": ["layer_cam"], "both": ["recam", "layer_cam"]}
    for part, kinds in maps.items():
        for name, dtype in PRECISIONS.items():
            for batch in (1, 8, 16):
                title = f"{part}, {name}, batches of {batch}"
                found.append(Case("seeds", title, batch, lambda b=batch, d=dtype, k=kinds: seeds(b, d, k)))
    for batch in (1, 8, 16):
        found.append(Case("crf", f"dense CRF, batches of {batch}", batch, lambda b=batch: crf(b)))
    found.append(Case("walk", "random walk", 1, walk))
    return found


def measure(case: Case, seconds: float) -> dict[str, float]:
    """Images a second, the most memory held in MiB."""
    torch.manual_seed(0)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    call = case.make()
    taken: list[float] = []
    while len(taken) < 5 or sum(taken) < seconds:
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**20
    return {"images_per_second": case.images / statistics.median(taken[2:]), "mib": memory}


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="What a GPU does in a second.")
    parser.add_argument("--seconds", type=float, default=2, help="of each case")
    parser.add_argument("--only", nargs="*", help="parts: train, seeds, crf, walk; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "gpu.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here")
    name, results = torch.cuda.get_device_name(), {}
    table = Table(
        title=f"{name}, torch {torch.__version__}, ResNet-50, photographs of {HEIGHT} × {WIDTH}, crops of 512"
    )
    table.add_column("case")
    for column in ("images/s", "MiB", "10,582 images"):
        table.add_column(column, justify="right")
    for case in cases():
        if options.only and case.part not in options.only:
            continue
        row = results[f"{case.part}: {case.name}"] = measure(case, options.seconds)
        minutes = TRAINAUG / row["images_per_second"] / 60
        table.add_row(
            f"{case.part}: {case.name}", f"{row['images_per_second']:.1f}", f"{row['mib']:.0f}", f"{minutes:.1f} min"
        )
        print(f"{case.part}: {case.name}: {row['images_per_second']:.1f} images/s", file=sys.stderr)
    Console(width=110).print(table)
    store(options.out, threads=torch.get_num_threads(), cases={"gpu": name, **results})


if __name__ == "__main__":
    main()
