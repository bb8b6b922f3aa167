"""Time and memory of the ReCAM loss: broadcast over all classes, as published, against `wsss.models.recam`.

    python benchmarks/recam_head.py [--repeats 5]

Each variant runs in its own process, so that the peak of one does not hide the other's. "Extra memory" is the peak
resident size during forward and backward, above what inputs and libraries take before.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import Comparison, measure_call, run_apart, store
from rich.console import Console
from rich.table import Table
from torch import Tensor

from wsss.models.recam import recam_loss

ROOT = Path(__file__).resolve().parents[1]
B, C, H, W, N = 4, 2048, 32, 32, 20
CASES = {"1 to 3": (1, 2, 3, 2), f"all {N}": (N,) * B}
VARIANTS = ("broadcast", "wsss")
TARGET = 8


def inputs(num_present: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features like a ReLU's, two heads, and multi-hot labels with so many classes in each image."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(B, C, H, W, generator=generator).relu_().requires_grad_()
    fc1, fc2 = (torch.randn(N, C, generator=generator) * C**-0.5 for _ in range(2))
    labels = torch.zeros(B, N)
    for row, count in zip(labels, num_present, strict=True):
        row[torch.randperm(N, generator=generator)[:count]] = 1
    return features, fc1.requires_grad_(), fc2.requires_grad_(), labels


def broadcast_loss(features: Tensor, fc1: Tensor, fc2: Tensor, labels: Tensor) -> Tensor:
    """The published computation: weighted maps of all classes, a tensor (B, N, C, h, w), then the mean of each."""
    logits = F.conv2d(features.mean(dim=(2, 3), keepdim=True), fc1[:, :, None, None]).flatten(1)  # (B, N)
    maps = F.conv2d(features, fc1[:, :, None, None]).relu()  # (B, N, h, w)
    maps = maps / (F.adaptive_max_pool2d(maps, 1) + 1e-5)
    weighted = maps.unsqueeze(2) * features.unsqueeze(1)  # (B, N, C, h, w)
    pooled = weighted.flatten(3).mean(dim=3)  # (B, N, C)
    per_image = [
        F.cross_entropy(pooled[b][labels[b] > 0] @ fc2.T, labels[b].nonzero()[:, 0]) for b in range(len(labels))
    ]
    return F.multilabel_soft_margin_loss(logits, labels) + torch.stack(per_image).sum() / len(labels)


def measure(variant: str, case: str, repeats: int, threads: int) -> dict[str, float]:
    """Peak extra memory of the first run, median seconds of the others, and the loss."""
    torch.set_num_threads(threads)
    leaves = inputs(CASES[case])

    def step() -> float:
        loss = broadcast_loss(*leaves) if variant == "broadcast" else recam_loss(*leaves)["loss"]
        torch.autograd.grad(loss, leaves[:3])
        return loss.item()

    figures, loss = measure_call(step, repeats)
    return {**figures, "loss": loss}


def compare(case: str, repeats: int, threads: int) -> dict[str, Any]:
    """Both variants on one case, and their ratios."""
    rows: dict[str, Any] = {
        variant: run_apart(__file__, ["--repeats", repeats, "--threads", threads, "--measure", variant, case])
        for variant in VARIANTS
    }
    published, ours = rows["broadcast"], rows["wsss"]
    rows["speedup"] = published["seconds"] / ours["seconds"]
    rows["memory_ratio"] = ours["extra_mib"] / published["extra_mib"]
    rows["loss_difference"] = abs(published["loss"] - ours["loss"])
    return rows


def show(results: dict[str, dict[str, Any]]) -> None:
    """Print one row a case."""
    table = Table(title=f"ReCAM loss, forward and backward, {B} × {C} × {H} × {W}, {N} classes")
    table.add_column("classes\npresent")
    for column in (
        "seconds\nbroadcast",
        "seconds\nwsss",
        "faster",
        "MiB\nbroadcast",
        "MiB\nwsss",
        "memory",
        "loss\ndiffers",
    ):
        table.add_column(column, justify="right")
    for case, rows in results.items():
        published, ours = rows["broadcast"], rows["wsss"]
        table.add_row(
            case,
            f"{published['seconds']:.3f}",
            f"{ours['seconds']:.3f}",
            f"{rows['speedup']:.1f} ×",
            f"{published['extra_mib']:.0f}",
            f"{ours['extra_mib']:.0f}",
            f"1/{1 / rows['memory_ratio']:.1f}",
            f"{rows['loss_difference']:.0e}",
        )
    Console().print(table)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Time and memory of the ReCAM loss against the published form.")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each variant")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "recam_head.json")
    parser.add_argument("--measure", nargs=2, metavar=("VARIANT", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        variant, case = options.measure
        print(json.dumps(measure(variant, case, options.repeats, options.threads)))
        return
    results = {case: compare(case, options.repeats, options.threads) for case in CASES}
    show(results)
    compared = [
        Comparison(
            what=f"ReCAM loss, forward and backward, {case} classes present",
            peer="published broadcast form",
            seconds=rows["wsss"]["seconds"],
            peer_seconds=rows["broadcast"]["seconds"],
            faster=rows["speedup"],
            target=TARGET,
            mib=rows["wsss"]["extra_mib"],
            peer_mib=rows["broadcast"]["extra_mib"],
        )
        for case, rows in results.items()
    ]
    store(options.out, threads=options.threads, cases=results, compared=compared)


if __name__ == "__main__":
    main()
