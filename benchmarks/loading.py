"""Images a second that the loaders bring, with so many processes and with copies, against what training takes.

    python benchmarks/loading.py [--images FOLDER] [--workers 0 1 2] [--crop 224] [--backbone resnet50]

Photographs are those of a folder, or ten made from mini_voc's by enlarging, of 12 megapixels as a camera's. "Needs" is
the classifier's training step on this machine, as images a second: loading is the bottleneck where it brings fewer.
Copies (`data.cache_long`) are made before the clock starts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from measuring import store
from PIL import Image
from rich.console import Console
from rich.table import Table

from wsss.data import DataDescription, ImageCache, ImageDataset, TrainValData, train_transform
from wsss.data.files import IMAGE_SUFFIXES
from wsss.models import Classifier, build_backbone

ROOT = Path(__file__).resolve().parents[1]
CAMERA = (4000, 3000)  # width and height of 12 megapixels


def photographs(folder: Path) -> None:
    """Ten photographs of mini_voc enlarged to a camera's size."""
    for path in sorted((ROOT / "data" / "mini_voc" / "JPEGImages").iterdir())[:10]:
        Image.open(path).resize(CAMERA, Image.Resampling.BICUBIC).save(folder / path.name, quality=92)


def loading_rate(dataset: ImageDataset, batch_size: int, num_workers: int, num_images: int) -> float:
    """Images a second over so many at least, from the first batch on."""
    data = TrainValData(dataset, dataset, batch_size=batch_size, num_workers=num_workers)
    loader, seen, start = data.train_dataloader(), 0, 0.0
    while seen < num_images + batch_size:
        for batch in loader:
            start = start or time.perf_counter()
            seen += len(batch.ids)
    return (seen - batch_size) / (time.perf_counter() - start)


def training_rate(backbone: str, crop: int, batch_size: int) -> float:
    """Images a second of the classifier's forward and backward passes, without loading."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = Classifier(build_backbone(backbone, weights="none"), 20).to(device).train()
    images = torch.randint(256, (batch_size, 3, crop, crop), dtype=torch.uint8, device=device)
    rates = []
    for _ in range(4):
        start = time.perf_counter()
        network(images).sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(batch_size / (time.perf_counter() - start))
    return max(rates)


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description="Loading against training, in images a second.")
    parser.add_argument("--images", type=Path, help="folder of photographs; default: ten of 12 megapixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="numbers of loader processes")
    parser.add_argument("--crop", type=int, default=224, help="pixels; copies are twice as long")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "loading.json")
    options = parser.parse_args()
    transform = train_transform(crop=options.crop, resize_long=(options.crop, 2 * options.crop))
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.images or Path(temporary)
        if options.images is None:
            photographs(folder)
        ids = sorted(path.stem for path in folder.iterdir() if path.suffix in IMAGE_SUFFIXES)[:100]
        data = DataDescription("photographs", folder, ("one",), labels="table", image_folder=".")
        cache = ImageCache(Path(temporary) / "copies", 2 * options.crop)
        for kind, copies in (("photographs", None), ("copies", cache)):
            dataset = ImageDataset(data, ids, torch.zeros(len(ids), 1), transform=transform, cache=copies)
            if copies is not None:
                for image_id in ids:
                    copies.read(data.image_path(image_id), image_id)
            rates[kind] = {
                str(workers): loading_rate(dataset, options.batch, workers, 40 if copies is None else 200)
                for workers in options.workers
            }
    rates["training needs"] = {"": training_rate(options.backbone, options.crop, options.batch)}
    show(rates, options)
    store(options.out, threads=torch.get_num_threads(), cases=rates)


def show(rates: dict[str, dict[str, float]], options: argparse.Namespace) -> None:
    """A row a kind and number of processes."""
    table = Table("loading", "processes", "images/s", title=f"crop {options.crop}, {options.backbone}")
    for kind, by_workers in rates.items():
        for workers, rate in by_workers.items():
            table.add_row(kind, workers, f"{rate:.1f}")
        table.add_section()
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
