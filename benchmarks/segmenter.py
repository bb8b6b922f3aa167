"""Training steps and inference of our DeepLabs against torchvision's DeepLab v3 and smp's DeepLab v3+.

    python benchmarks/segmenter.py [--size 256] [--batch 4] [--precision 32|bf16] [--device cpu|cuda] [--repeats 7]

All have a ResNet-50 with random weights, the same output stride, pyramid width and rates, 21 labels and no auxiliary
head. A training step is forward, cross-entropy at the images' size, backward, SGD; inference ends in label maps. Ours
gets the photographs' bytes and normalises them inside, peers get normalised images, and both memory formats, of which
the faster counts. Variants take turns in one process, so that a machine that slows down slows all; images/s are
medians, ratios medians of each turn's ratio. "Extra memory" is what the first call adds to the peak beyond network and
images, on CPUs of the resident size, in a process of each variant's own. GFLOP are those of a forward pass, an image:
smp's decoder is separable in any case.
"""

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measuring import Comparison, measure_call, run_apart, store
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from wsss.models import Inference, build_segmentation, fold_batch_norm, predict_labels
from wsss.pipeline.training import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
LABELS = 21
TARGET = 1
MODES = ("training", "inference")
# Case -> our network, its options, output stride, the peer.
CASES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "DeepLab v3, stride 8": ("deeplab_v3", {}, 8, "torchvision"),
    "DeepLab v3+, stride 16": ("deeplab_v3plus", {}, 16, "smp"),
    "DeepLab v3+, stride 16, separable": ("deeplab_v3plus", {"separable": True}, 16, "smp"),
}
FORMATS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def our_network(case: str) -> nn.Module:
    """Our network of a case."""
    name, head, stride, _ = CASES[case]
    backbone = {"name": "resnet50", "weights": "none", "output_stride": stride}
    return build_segmentation(name, LABELS, backbone=backbone, head=head)


def peer_network(case: str) -> nn.Module:
    """The peer's: images to logits, in a dictionary or not."""
    _, head, stride, peer = CASES[case]
    if peer == "torchvision":  # whose stride is 8, whose rates are ours there
        from torchvision.models.segmentation import deeplabv3_resnet50

        network: nn.Module = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=LABELS, aux_loss=False)
        return network
    import segmentation_models_pytorch as smp

    return smp.DeepLabV3Plus(  # type: ignore[no-any-return]
        "resnet50",
        encoder_weights=None,
        encoder_output_stride=stride,
        decoder_atrous_rates=(6, 12, 18),
        decoder_aspp_separable="separable" in head,
        classes=LABELS,
    )


def variants(case: str) -> list[str]:
    """Ours and the peer's two memory formats."""
    return ["wsss", *(f"{CASES[case][3]}, {layout}" for layout in FORMATS)]


def prepare(case: str, variant: str, options: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    """A variant's network and its images."""
    torch.manual_seed(0)
    device = torch.device(options.device)
    pixels = torch.randint(0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8)
    if variant == "wsss":
        return our_network(case).to(device), pixels.to(device)
    layout = FORMATS[variant.split(", ")[1]]
    images = (pixels / 255 - 0.45) / 0.225
    return peer_network(case).to(device, memory_format=layout), images.to(device, memory_format=layout)


def call_of(case: str, mode: str, variant: str, options: argparse.Namespace) -> Callable[[], object]:
    """One training step, or one batch of label maps."""
    network, images = prepare(case, variant, options)
    autocast = torch.autocast(options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16")
    masks = torch.randint(0, LABELS, images.shape[:1] + images.shape[2:], device=images.device)

    def logits() -> Tensor:
        output = network(images)
        return output["out"] if isinstance(output, dict) else output

    if mode == "inference":
        network = fold_batch_norm(network, images[:1, :, :64, :64]) if variant == "wsss" else network.eval()

        @torch.inference_mode()
        def label() -> object:
            with autocast:
                if variant == "wsss":
                    return predict_labels(network, images, Inference())
                return logits().argmax(dim=1).byte()

        return synchronised(label, options.device)
    optimizer = torch.optim.SGD(network.train().parameters(), lr=1e-4, momentum=0.9)

    def step() -> None:
        with autocast:
            loss = F.cross_entropy(logits().float(), masks, ignore_index=255)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return synchronised(step, options.device)


def synchronised(call: Callable[[], object], device: str) -> Callable[[], object]:
    """A call that ends when the device has ended."""

    def whole() -> object:
        result = call()
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return whole


def in_turns(case: str, mode: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of each variant, turn by turn, after one that is not counted."""
    calls = {variant: call_of(case, mode, variant, options) for variant in variants(case)}
    seconds: dict[str, list[float]] = {variant: [] for variant in calls}
    for turn in range(options.repeats + 1):
        for variant, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[variant].append(time.perf_counter() - start)
    return seconds


def extra_mib(case: str, mode: str, variant: str, options: argparse.Namespace) -> float:
    """What a first call adds to the peak."""
    call = call_of(case, mode, variant, options)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return measure_call(call, 1)[0]["extra_mib"]


def gflop(case: str, variant: str, options: argparse.Namespace) -> float:
    """Arithmetic of a forward pass, an image."""
    network, images = prepare(case, variant, options)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images)
    return counter.get_total_flops() / options.batch / 1e9


def measure(case: str, mode: str, options: argparse.Namespace, passed: list[object]) -> dict[str, dict[str, float]]:
    """Images a second, the peer's time over ours, memory and arithmetic of each variant."""
    seconds = in_turns(case, mode, options)
    rows = {}
    for variant, turns in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(turns, seconds["wsss"], strict=True)]
        apart = ["--measure", case, mode, variant]
        rows[variant] = {
            "images_per_second": options.batch / statistics.median(turns),
            "ratio": statistics.median(ratios),
            "gflop": gflop(case, variant, options),
            "extra_mib": run_apart(__file__, [*passed, *apart])["extra_mib"],
        }
    return rows


def fastest_peer(rows: dict[str, dict[str, float]]) -> str:
    """The faster use of the peer."""
    return max((name for name in rows if name != "wsss"), key=lambda name: rows[name]["images_per_second"])


def comparisons(results: dict[str, dict[str, dict[str, float]]], batch: int) -> Iterator[Comparison]:
    """A batch of each case against the faster use of its peer."""
    for case, rows in results.items():
        peer = fastest_peer(rows)
        yield Comparison(
            what=f"{case}, a batch of {batch}",
            peer=peer.split(",")[0],
            seconds=batch / rows["wsss"]["images_per_second"],
            peer_seconds=batch / rows[peer]["images_per_second"],
            faster=rows[peer]["ratio"],
            target=TARGET,
            mib=rows["wsss"]["extra_mib"],
            peer_mib=rows[peer]["extra_mib"],
        )


def show(results: dict[str, dict[str, dict[str, float]]], title: str) -> None:
    """A row for ours and one for the faster use of each peer."""
    table = Table(title=title)
    for column in ("case", "by"):
        table.add_column(column)
    for column in ("images/s", "wsss is faster", "extra MiB", "GFLOP"):
        table.add_column(column, justify="right")
    for case, rows in results.items():
        for name in ("wsss", fastest_peer(rows)):
            row = rows[name]
            table.add_row(
                case if name == "wsss" else "",
                name,
                f"{row['images_per_second']:.2f}",
                "" if name == "wsss" else f"{row['ratio']:.2f} ×",
                f"{row['extra_mib']:.0f}",
                f"{row['gflop']:.0f}",
            )
        table.add_section()
    Console(width=120).print(table)


def main() -> None:
    """Measure, print, store."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description="DeepLab v3 and v3+ against torchvision and smp.")
    parser.add_argument("--size", type=int, default=256, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=4, help="images of a batch")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "segmenter.json")
    parser.add_argument("--measure", nargs=3, metavar=("CASE", "MODE", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()  # for all alike
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps({"extra_mib": extra_mib(*options.measure, options)}))
        return
    passed = [f"--{name}={getattr(options, name)}" for name in ("size", "batch", "precision", "device", "threads")]
    results: dict[str, dict[str, dict[str, float]]] = {}
    for case in [options.only] if options.only else CASES:
        for mode in MODES:
            results[f"{case}, {mode}"] = measure(case, mode, options, [*passed])
            print(f"{case}, {mode}: done", file=sys.stderr)
    show(results, f"{options.batch} images of {options.size} px, {options.precision}, {options.device}, ResNet-50")
    compared = [*comparisons(results, options.batch)]
    store(options.out, threads=options.threads, cases=results, compared=compared)


if __name__ == "__main__":
    main()
