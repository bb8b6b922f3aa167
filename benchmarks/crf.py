"""Time and memory of the dense CRF: `wsss.masks` in torch against pydensecrf (C++), 10 iterations.

    python benchmarks/crf.py [--images FOLDER] [--count 4] [--repeats 5] [--threads 1]

Images are 375 × 500, tiled from photographs of mini_voc, or the photographs of a folder resized. "build" is what
depends on the image alone (for pydensecrf both kernels; ours keeps the smoothness kernel of a size, and its first build
is not counted), "iterations" the ten mean-field steps. Two passes are the confident labels': the published code builds
and runs the CRF twice. The variants of a case take turns in one process, so that a machine that slows down slows both;
figures are medians, ratios medians of each turn's ratio (a GPU's: of medians). "Extra memory" is what the first image
adds to the peak resident size, in a process of each variant's own. With a GPU, batches of 8 images are measured too.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from joblib import Parallel, delayed
from measuring import Comparison, measure_call, run_apart, store
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from wsss.masks import CRFParams, MeanField, unary_from_labels
from wsss.pipeline.training import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH = 375, 500
# Case -> labels, passes.
CASES = {"2 labels": (2, 1), "4 labels": (4, 1), "21 labels": (21, 1), "3 labels, two passes": (3, 2)}
VARIANTS = ("wsss", "pydensecrf")
PARTS = ("build", "iterations", "total")
MANY = "24 images, 3 labels, 2 processes"
TARGETS = {
    ("2 labels", "iterations"): 1.5,
    ("4 labels", "iterations"): 1.5,
    ("21 labels", "iterations"): 1.2,
    ("3 labels, two passes", "total"): 2,
    (MANY, "total"): 1.2,
}
PARAMS = CRFParams()


def photographs(folder: Path | None, count: int) -> list[NDArray[np.uint8]]:
    """RGB images (375, 500, 3): of a folder, or tiles of mini_voc."""
    if folder is not None:
        paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]
        return [np.array(Image.open(path).convert("RGB").resize((WIDTH, HEIGHT))) for path in paths]
    paths = sorted((ROOT / "data" / "mini_voc" / "JPEGImages").iterdir())
    tiles = [np.array(Image.open(path).convert("RGB")) for path in paths[: 12 * count]]
    rows = [np.concatenate(tiles[i : i + 4], axis=1) for i in range(0, len(tiles), 4)]
    return [np.concatenate(rows[i : i + 3])[:HEIGHT, :WIDTH].copy() for i in range(0, len(rows), 3)]


def energies(labels: int, passes: int) -> NDArray[np.float32]:
    """Unary energies (P, L, H, W) of smooth random labellings."""
    rng = np.random.default_rng(0)
    blobs = scipy.ndimage.gaussian_filter(rng.standard_normal((passes, labels, HEIGHT, WIDTH)), (0, 0, 20, 20))
    return np.stack([unary_from_labels(one.argmax(axis=0), labels, gt_prob=PARAMS.gt_prob) for one in blobs])


def torch_crf(images: list[NDArray[np.uint8]], device: str) -> Callable[[NDArray[np.float32]], object]:
    """Build; the function returned iterates."""
    crf = MeanField(torch.from_numpy(np.stack(images)).to(device), PARAMS)

    def iterate(unary: NDArray[np.float32]) -> object:
        energy = torch.tensor(np.stack([unary] * len(images)), device=device)
        return crf.marginals(energy).argmax(dim=2).cpu()

    return iterate


def pydensecrf(images: list[NDArray[np.uint8]], num_labels: int) -> Callable[[NDArray[np.float32]], object]:
    """Build; the function returned iterates one pass."""
    from pydensecrf.densecrf import DenseCRF2D

    (image,) = images
    crf = DenseCRF2D(WIDTH, HEIGHT, num_labels)
    crf.addPairwiseGaussian(sxy=PARAMS.gaussian_sxy, compat=PARAMS.gaussian_compat)
    crf.addPairwiseBilateral(
        sxy=PARAMS.bilateral_sxy, srgb=PARAMS.bilateral_srgb, rgbim=image.copy(), compat=PARAMS.bilateral_compat
    )

    def iterate(unary: NDArray[np.float32]) -> object:
        crf.setUnaryEnergy(np.array(unary.reshape(num_labels, -1)))  # a copy: it refuses what joblib has mapped
        return np.array(crf.inference(PARAMS.iterations)).argmax(axis=0)

    return iterate


def refine(variant: str, image: NDArray[np.uint8], unary: NDArray[np.float32]) -> tuple[float, float]:
    """All passes over one image; seconds to build, seconds to iterate."""
    if variant == "wsss":
        start = time.perf_counter()
        iterate = torch_crf([image], "cpu")
        built = time.perf_counter()
        iterate(unary)
        return built - start, time.perf_counter() - built
    build_seconds = iterate_seconds = 0.0
    for of_pass in unary:
        start = time.perf_counter()
        iterate = pydensecrf([image], len(of_pass))
        built = time.perf_counter()
        iterate(of_pass)
        build_seconds += built - start
        iterate_seconds += time.perf_counter() - built
    return build_seconds, iterate_seconds


def refine_in_worker(variant: str, image: NDArray[np.uint8], unary: NDArray[np.float32]) -> None:
    """The same in a process of one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    refine(variant, image, unary)


def in_turns(call: Callable[[str], dict[str, float]], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of each variant's parts, and by how much the first was faster; the first turn is not counted."""
    turns = [{variant: call(variant) for variant in VARIANTS} for _ in range(repeats + 1)][1:]
    medians: dict[str, dict[str, float]] = {
        variant: {part: statistics.median(turn[variant][part] for turn in turns) for part in turns[0][variant]}
        for variant in VARIANTS
    }
    ours, peer = VARIANTS
    for part in turns[0][ours]:
        faster = statistics.median(turn[peer][part] / turn[ours][part] for turn in turns)
        medians[ours][f"{part} faster"] = faster
    return medians


def measure_images(case: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One image at a time, in this process."""
    unary, images = energies(*CASES[case]), photographs(options.images, options.count)

    def call(variant: str) -> dict[str, float]:
        build, iterations = (sum(parts) for parts in zip(*(refine(variant, i, unary) for i in images), strict=True))
        return {part: s / len(images) for part, s in zip(PARTS, (build, iterations, build + iterations), strict=True)}

    results = in_turns(call, options.repeats)
    for variant in VARIANTS:
        arguments = ["--threads", options.threads, "--memory", case, variant]
        arguments += ["--images", options.images] if options.images else []
        results[variant]["extra_mib"] = run_apart(__file__, arguments)["extra_mib"]
    if torch.cuda.is_available():
        gpu = measure_gpu(photographs(options.images, 8), unary, options.repeats)
        results["wsss on a GPU, batches of 8"] = gpu | {"total faster": results["pydensecrf"]["total"] / gpu["total"]}
    return results


def measure_memory(case: str, variant: str, options: argparse.Namespace) -> dict[str, float]:
    """MiB that one image adds to the peak resident size of this process."""
    unary, (image,) = energies(*CASES[case]), photographs(options.images, 1)
    return measure_call(lambda: refine(variant, image, unary), 1)[0]


def measure_many(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Two processes of one thread, 24 images."""
    unary, images = energies(3, 1), photographs(options.images, 24)
    with Parallel(n_jobs=2) as pool:

        def call(variant: str) -> dict[str, float]:
            start = time.perf_counter()
            pool(delayed(refine_in_worker)(variant, image, unary) for image in images)
            return {"total": time.perf_counter() - start}

        return in_turns(call, options.repeats)


def measure_gpu(images: list[NDArray[np.uint8]], unary: NDArray[np.float32], repeats: int) -> dict[str, float]:
    """Seconds an image; results come back to the CPU, which waits for them."""
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch_crf(images, "cuda")(unary)
        seconds.append((time.perf_counter() - start) / len(images))
    return {"total": statistics.median(seconds[1:]), "extra_mib": torch.cuda.max_memory_allocated() / 2**20}


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A row a case and back end."""
    table = Table(title=f"dense CRF, {HEIGHT} × {WIDTH}, {PARAMS.iterations} iterations")
    for column in ("case", "by", *(f"{part} s" for part in PARTS), *PARTS, "extra MiB"):
        table.add_column(column, justify="left" if column in ("case", "by") else "right")
    for case, variants in results.items():
        for name, row in variants.items():
            seconds = [f"{row[part]:.3f}" if part in row else "" for part in PARTS]
            faster = [f"{row[key]:.2f} ×" if (key := f"{part} faster") in row else "" for part in PARTS]
            memory = f"{row['extra_mib']:.0f}" if "extra_mib" in row else ""
            table.add_row(case if name == "wsss" else "", name, *seconds, *faster, memory)
        table.add_section()
    Console(width=130).print(table)


def comparisons(results: dict[str, dict[str, dict[str, float]]]) -> Iterator[Comparison]:
    """Each part of each case against pydensecrf."""
    for case, rows in results.items():
        ours, peer = (rows[variant] for variant in VARIANTS)
        for part in (part for part in PARTS if part in ours):
            whole = part == PARTS[-1]
            yield Comparison(
                what=f"dense CRF, {case}, {part}",
                peer="pydensecrf",
                seconds=ours[part],
                peer_seconds=peer[part],
                faster=ours[f"{part} faster"],
                target=TARGETS.get((case, part)),
                mib=ours.get("extra_mib") if whole else None,
                peer_mib=peer.get("extra_mib") if whole else None,
            )


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="The dense CRF in torch against pydensecrf.")
    parser.add_argument("--images", type=Path, help="folder of photographs; default: tiles of mini_voc")
    parser.add_argument("--count", type=int, default=4, help="photographs that a turn goes through")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each case")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; pydensecrf has one")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "crf.json")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()  # for all alike
    torch.set_num_threads(options.threads)
    if options.memory:
        print(json.dumps(measure_memory(*options.memory, options)))
        return
    results = {}
    for case in (*CASES, MANY):
        results[case] = measure_images(case, options) if case in CASES else measure_many(options)
        print(f"{case}: {results[case]['wsss']['total']:.3f} s", file=sys.stderr)
    show(results)
    store(options.out, threads=options.threads, cases=results, compared=[*comparisons(results)])


if __name__ == "__main__":
    main()
