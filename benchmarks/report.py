"""Time in which a browser opens the page of a run: 1,500 images, five steps each.

    python benchmarks/report.py [--images 1500] [--side 320]

Images are drawn at random (375 × 500 pixels, a handful of them under many names), with maps, masks, predictions and
truth. The page is opened in a new profile of headless Chromium, from disk; a run ends when the figures are there, the
first pictures of the gallery are decoded, and the browser is idle. The target is 2 s. Needs Chromium and
`pip install ".[browser]"`.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
from browser import chromium, what_is_missing
from measuring import store
from PIL import Image
from rich.console import Console

from wsss.data import VOC_CLASSES, DataDescription, save_mask
from wsss.report import write_report
from wsss.seeds import save_seeds

ROOT = Path(__file__).resolve().parents[1]
SIZE = (375, 500)
TARGET = 2.0  # seconds
IDLE = """() => new Promise(done => Promise.all([...document.images].map(image => image.decode()))
    .then(() => requestIdleCallback(() => done(performance.now()))))"""


def draw_run(root: Path, count: int) -> tuple[Path, DataDescription, list[str]]:
    """A run of `count` images, eight different ones; its folder, data and the images' ids."""
    rng = np.random.default_rng(0)
    data = DataDescription("drawn at random", root / "data", VOC_CLASSES, labels="masks")
    run = root / "outputs" / "large"
    ids = [f"image_{number:05}" for number in range(count)]
    for number, image_id in enumerate(ids):
        places = {
            "image": root / "data" / "JPEGImages" / f"{image_id}.jpg",
            "truth": root / "data" / "SegmentationClass" / f"{image_id}.png",
            "cam": run / "seeds" / "maps" / "cam" / f"{image_id}.npz",
            "seed": run / "seeds" / f"{image_id}.npz",
            "mask": run / "masks" / f"{image_id}.png",
        }
        for name, path in places.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if number >= 8:
                os.link(path.with_stem(ids[number % 8]), path)
            elif name == "image":
                smooth = scipy.ndimage.gaussian_filter(rng.random((*SIZE, 3)), (4, 4, 0))
                noisy = 255 * (smooth - smooth.min()) / np.ptp(smooth) + rng.normal(0, 6, (*SIZE, 3))
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
            elif path.suffix == ".npz":
                maps = scipy.ndimage.gaussian_filter(rng.random((2, 94, 125)), (0, 9, 9))
                save_seeds(path, maps / maps.max(), [number, number + 1], SIZE)
            else:
                field = scipy.ndimage.gaussian_filter(rng.standard_normal(SIZE), 25)
                save_mask(
                    path, np.where(field > 0.01, number + 1, np.where(field < -0.02, number + 2, 0)).astype(np.uint8)
                )
    return run, data, ids


def seconds_to_open(page: Path) -> float:
    """From the address to an idle page, by the browser's clock."""
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1360, "height": 900})
        opened.goto(page.as_uri())
        return float(opened.evaluate(IDLE)) / 1000


def main() -> None:
    """Write the page, open it, print, store."""
    parser = argparse.ArgumentParser(description="Opening the page of a run with many images.")
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--side", type=int, default=320, help="report.side")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "report.json")
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    missing = what_is_missing()
    if missing:
        console.print(f"not measured: {missing}", markup=False)
        return
    with tempfile.TemporaryDirectory() as folder:
        run, data, ids = draw_run(Path(folder), options.images)
        start = time.perf_counter()
        page = write_report(
            run, description=data, train_ids=ids, val_ids=[], num_images=options.images, side=options.side
        )
        written = time.perf_counter() - start
        seconds = [seconds_to_open(page) for _ in range(options.repeats)]
        megabytes = page.stat().st_size / 1e6
    result = {
        "images": options.images,
        "side": options.side,
        "megabytes": round(megabytes, 1),
        "seconds_to_write": round(written, 1),
        "seconds_to_open": round(statistics.median(seconds), 2),
        "slowest": round(max(seconds), 2),
    }
    store(options.out, threads=torch.get_num_threads(), cases={"page": result})
    console.print(
        f"{options.images} images, {megabytes:.1f} MB: opened in {result['seconds_to_open']} s "
        f"(median of {options.repeats}, slowest {result['slowest']} s), written in {written:.0f} s"
    )
    if result["seconds_to_open"] > TARGET:
        sys.exit(f"opening takes more than {TARGET:g} s")


if __name__ == "__main__":
    main()
