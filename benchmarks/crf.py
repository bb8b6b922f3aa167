"""Time and memory of the dense CRF: `wsss.masks` in torch against pydensecrf (C++), 10 iterations.

    python benchmarks/crf.py [--images FOLDER] [--repeats 5] [--threads 1]

Images are 375 × 500, tiled from photographs of mini_voc, or the photographs of a folder resized. "build" is what
depends on the image alone (for pydensecrf both kernels; ours keeps the smoothness kernel of a size, and its first build
is not counted), "iterations" the ten mean-field steps. Two passes are the confident labels': the published code builds
and runs the CRF twice. Each variant runs in its own process; "extra memory" is the peak resident size of the first
image above what inputs and libraries take before. With a GPU, batches of 8 images are measured as well.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from joblib import Parallel, delayed
from measuring import peak_bytes, run_apart, store
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
MANY = "24 images, 3 labels, 2 processes"
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
        energy = torch.from_numpy(unary).to(device).expand(len(images), *unary.shape)
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


def measure(case: str, variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Figures of one variant in this process."""
    keep_freed_memory()  # for all alike
    torch.set_num_threads(options.threads)
    if case == MANY:
        unary, images = energies(3, 1), photographs(options.images, 24)
        with Parallel(n_jobs=2) as pool:
            pool(delayed(refine_in_worker)(variant, image, unary) for image in images[:4])
            start = time.perf_counter()
            pool(delayed(refine_in_worker)(variant, image, unary) for image in images)
            return {"total": time.perf_counter() - start}
    labels, passes = CASES[case]
    unary, images = energies(labels, passes), photographs(options.images, 1)
    if variant == "wsss on a GPU, batches of 8":
        return measure_gpu(photographs(options.images, 8), unary, options.repeats)
    before = peak_bytes()
    refine(variant, images[0], unary)
    extra = (peak_bytes() - before) / 2**20
    parts = [refine(variant, images[0], unary) for _ in range(options.repeats)]
    build, iterations = (statistics.median(part) for part in zip(*parts, strict=True))
    return {"build": build, "iterations": iterations, "total": build + iterations, "extra_mib": extra}


def measure_gpu(images: list[NDArray[np.uint8]], unary: NDArray[np.float32], repeats: int) -> dict[str, float]:
    """Seconds an image; results come back to the CPU, which waits for them."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch_crf(images, "cuda")(unary)
        seconds.append((time.perf_counter() - start) / len(images))
    return {"total": statistics.median(seconds[1:]), "extra_mib": torch.cuda.max_memory_allocated() / 2**20}


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A row a case and back end."""
    table = Table(title=f"dense CRF, {HEIGHT} × {WIDTH}, {PARAMS.iterations} iterations")
    for column in ("case", "by", "build s", "iterations s", "total s", "iterations", "total", "extra MiB"):
        table.add_column(column, justify="left" if column in ("case", "by") else "right")
    for case, variants in results.items():
        peer = variants["pydensecrf"]
        for name, row in variants.items():
            seconds = [f"{row[key]:.3f}" if key in row else "" for key in ("build", "iterations", "total")]
            faster = [
                f"{peer[key] / row[key]:.2f} ×" if name != "pydensecrf" and key in row and key in peer else ""
                for key in ("iterations", "total")
            ]
            memory = f"{row['extra_mib']:.0f}" if "extra_mib" in row else ""
            table.add_row(case if name == "wsss" else "", name, *seconds, *faster, memory)
        table.add_section()
    Console(width=130).print(table)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="The dense CRF in torch against pydensecrf.")
    parser.add_argument("--images", type=Path, help="folder of photographs; default: tiles of mini_voc")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each variant")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; pydensecrf has one")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "crf.json")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options)))
        return
    variants = [*VARIANTS, "wsss on a GPU, batches of 8"] if torch.cuda.is_available() else VARIANTS
    results: dict[str, Any] = {}
    for case in (*CASES, MANY):
        results[case] = {}
        for variant in variants if case in CASES else VARIANTS:
            arguments = ["--repeats", options.repeats, "--threads", options.threads, "--measure", case, variant]
            arguments += ["--images", options.images] if options.images else []
            results[case][variant] = run_apart(__file__, arguments)
            print(f"{case}, {variant}: {results[case][variant]['total']:.3f} s", file=sys.stderr)
    show(results)
    store(options.out, threads=options.threads, cases=results)


if __name__ == "__main__":
    main()
