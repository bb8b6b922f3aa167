"""The random walk of IRN as sparse Chebyshev steps against the published dense matrix, squared eight times.

    python benchmarks/random_walk.py [--size 94 125] [--classes 2]

The grid is that of a 375 × 500 photograph at stride 4; maps and edges are random, smooth ones. The dense form needs two
matrices of (h·w)² floats at once. Each runs in a process of its own, which measures its time and what it adds to the
peak of memory; both give the same scores, which is checked.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring import Comparison, measure_call, run_apart, store
from rich.console import Console
from torch import Tensor

from wsss.masks import edge_affinities, random_walk
from wsss.masks.random_walk import transition

ROOT = Path(__file__).resolve().parents[1]
RADIUS, BETA, EXP_TIMES = 5, 10.0, 8
TARGET = 50
TOLERANCE = 1e-4  # the dense form rounds: eight squarings in float32


def random_case(size: list[int], classes: int) -> tuple[Tensor, Tensor]:
    """Smooth maps (K, h, w) and an edge map (h, w) in [0, 1]."""
    generator = torch.Generator().manual_seed(0)

    def smooth(planes: int, cells: int) -> Tensor:
        coarse = torch.rand(1, planes, size[0] // cells, size[1] // cells, generator=generator)
        return F.interpolate(coarse, size, mode="bicubic", align_corners=False)[0].clamp(0, 1)

    return smooth(classes, 16), smooth(1, 6)[0] ** 3


def dense_walk(maps: Tensor, edge: Tensor) -> Tensor:
    """As published: T as a dense matrix, squared t times."""
    matrix = transition(edge_affinities(edge, RADIUS), radius=RADIUS, beta=BETA).to_dense().T.contiguous()
    for _ in range(EXP_TIMES):
        matrix = matrix @ matrix
    return ((maps * (1 - edge)).flatten(1) @ matrix).view(maps.shape)


def sparse_walk(maps: Tensor, edge: Tensor) -> Tensor:
    """Ours."""
    return random_walk(maps, edge, radius=RADIUS, beta=BETA, exp_times=EXP_TIMES)


FORMS = {"sparse": (sparse_walk, 5), "dense": (dense_walk, 0)}  # calls timed after the first; 0: the first is


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="The sparse random walk against the dense one.")
    parser.add_argument("--size", type=int, nargs=2, default=[94, 125], metavar=("H", "W"))
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--form", choices=FORMS, help="measure this one alone, for the parent process")
    parser.add_argument("--scores", type=Path, default=ROOT / "outputs" / "bench" / "random_walk")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "random_walk.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.form is not None:
        walk, repeats = FORMS[options.form]
        case = random_case(options.size, options.classes)
        measured, scores = measure_call(lambda: walk(*case), repeats)
        torch.save(scores, options.scores / f"{options.form}.pt")
        print(json.dumps(measured))
        return
    options.scores.mkdir(parents=True, exist_ok=True)
    common = ["--size", *options.size, "--classes", options.classes, "--threads", options.threads]
    cases = {form: run_apart(__file__, [*common, "--scores", options.scores, "--form", form]) for form in FORMS}
    sparse, dense = (torch.load(options.scores / f"{form}.pt", weights_only=True) for form in FORMS)
    difference = float((sparse - dense).abs().max())
    ratio = cases["dense"]["seconds"] / cases["sparse"]["seconds"]
    console = Console(width=120, highlight=False)
    for form, measured in cases.items():
        console.print(f"{form}: {measured['seconds']:.3f} s, {measured['extra_mib']:.0f} MiB")
    console.print(f"the sparse walk is {ratio:.0f} × faster; scores differ by {difference:.1e}")
    compared = Comparison(
        what="IRN's random walk, {} × {}, {} classes".format(*options.size, options.classes),
        peer="published dense form",
        seconds=cases["sparse"]["seconds"],
        peer_seconds=cases["dense"]["seconds"],
        faster=ratio,
        target=TARGET,
        mib=cases["sparse"]["extra_mib"],
        peer_mib=cases["dense"]["extra_mib"],
    )
    cases |= {"ratio": ratio, "difference": difference}
    store(options.out, threads=options.threads, cases=cases, compared=[compared])
    if difference > TOLERANCE:
        sys.exit(f"scores differ by {difference:.1e}, more than {TOLERANCE:.0e} allows")


if __name__ == "__main__":
    main()
