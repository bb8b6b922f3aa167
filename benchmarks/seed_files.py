"""Bytes and mIoU of seed files against the pickles that the published code writes for the same images.

    python benchmarks/seed_files.py outputs/demo [--images 100]

The classifier draws multi-scale CAMs of the train images at their own size. The published form (IRN, ReCAM) is one
pickle an image with float32 maps at stride 4 and at full size; ours is `wsss.seeds`. Both are scored over one list of
thresholds on the train truth; "apart" is the largest difference at any of them.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import store
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from wsss import _torchvision  # noqa: F401  (lets torchvision load)
from wsss.cam import cam, merge_flips, published_maps, resize, with_flips
from wsss.data import read_image, read_mask
from wsss.metrics import ThresholdCounter
from wsss.models import Classifier
from wsss.pipeline.networks import load_classifier
from wsss.pipeline.run import Run, open_run
from wsss.seeds import load_seeds, resize_maps, save_seeds

ROOT = Path(__file__).resolve().parents[1]
SCALES = (0.5, 1.0, 1.5, 2.0)


@torch.inference_mode()
def draw(network: Classifier, image: NDArray[np.uint8], classes: list[int]) -> tuple[Tensor, Tensor]:
    """Published maps (K, h, w) at stride 4 and (K, H, W) at full size."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255  # (1, 3, H, W)
    height, width = image.shape[:2]
    maps = [
        merge_flips(cam(network.features(with_flips(resize(pixels, size))), network.fc1_weight[classes]))[0]
        for size in ((round(height * scale), round(width * scale)) for scale in SCALES)
    ]
    return published_maps(maps, (height, width))


def measure(run: Run, num_images: int | None) -> dict[str, dict[str, float]]:
    """Bytes, and mIoU at each form's best threshold and at most apart from the published one's."""
    network = load_classifier(run.folder / "classifier" / "model.pt").eval().requires_grad_(False)
    thresholds = [float(t) for t in np.arange(100) / 100]
    forms = ("published, full size", "float32, stride 4", "wsss")
    counters = {form: ThresholdCounter(thresholds, run.data.num_classes + 1) for form in forms}
    pickle_bytes = seed_bytes = 0
    with tempfile.TemporaryDirectory() as folder:
        for image_id, labels in zip(run.train_ids[:num_images], run.train_labels, strict=False):
            present = labels.nonzero()[:, 0]
            image, truth = np.array(read_image(run.data.image_path(image_id))), read_mask(run.data.mask_path(image_id))
            strided, full = draw(network, image, present.tolist())
            published, seeds = Path(folder) / "published.npy", Path(folder) / "seeds.npz"
            np.save(published, {"keys": present, "cam": strided, "high_res": full.numpy()}, allow_pickle=True)  # type: ignore[arg-type]  # a dict, as published
            save_seeds(seeds, strided, present.tolist(), truth.shape)
            pickle_bytes += published.stat().st_size
            seed_bytes += seeds.stat().st_size
            stored, classes = load_seeds(seeds), present.numpy()
            counters["published, full size"].update(full.numpy(), classes, truth)
            counters["float32, stride 4"].update(resize_maps(strided.numpy(), truth.shape), classes, truth)
            counters["wsss"].update(resize_maps(stored.maps, stored.size), stored.classes, truth)
    miou = {form: 100 * counter.compute().miou for form, counter in counters.items()}
    sizes = {"published, full size": pickle_bytes, "wsss": seed_bytes}
    return {
        form: {
            "bytes": sizes.get(form, float("nan")),
            "miou": float(curve.max()),
            "apart": float(np.abs(curve - miou["published, full size"]).max()),
            "apart_strided": float(np.abs(curve - miou["float32, stride 4"]).max()),
        }
        for form, curve in miou.items()
    }


def show(results: dict[str, dict[str, float]]) -> None:
    """A row a form."""
    table = Table()
    for column in (
        "seeds",
        "MB",
        "of the bytes",
        "mIoU, best threshold",
        "apart from full size",
        "apart from stride 4",
    ):
        table.add_column(column, justify="left" if column == "seeds" else "right")
    reference = results["published, full size"]["bytes"]
    for form, row in results.items():
        known = row["bytes"] == row["bytes"]
        size = (f"{row['bytes'] / 1e6:.2f}", f"1/{reference / row['bytes']:.0f}") if known else ("", "")
        table.add_row(form, *size, f"{row['miou']:.2f}", f"{row['apart']:.2f}", f"{row['apart_strided']:.3f}")
    Console(width=120).print(table)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Bytes and mIoU of seed files against the published pickles.")
    parser.add_argument("run", type=Path, help="folder of a run with a classifier")
    parser.add_argument("--images", type=int, help="the first so many; default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "seed_files.json")
    options = parser.parse_args()
    if not (options.run / "classifier" / "model.pt").exists():
        parser.error(f"{options.run}: no classifier here; train one with scripts/train_cls.py")
    results = measure(open_run(options.run), options.images)
    show(results)
    store(options.out, threads=torch.get_num_threads(), cases=results)


if __name__ == "__main__":
    main()
