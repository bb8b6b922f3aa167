"""A run folder as the pipeline leaves it, made of drawn pictures."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from wsss.data import DataDescription, save_mask
from wsss.seeds import save_seeds

SIZE = (24, 32)
CLASSES = ("bird", "<b>cow</b>", "$fish$")
RESULTS = {
    "classifier/val_map": 93.4,
    "recam/val_map": 92.0,
    "seeds/miou": 52.13,
    "seeds/oracle_miou": 54.8,
    "seeds/cam/miou": 46.2,
    "masks/miou": 61.2,
    "masks/coverage": 0.9,
    "segmenter/val_miou": 60.0,
    "segmenter/supervised_val_miou": 75.0,
    "time/seeds_s": 25.3,
    "time/segmenter_s": 221.0,
}
SEEDS_PROTOCOL = {
    "data": "mini_voc",
    "split": "train",
    "images": 600,
    "threshold": 0.42,
    "threshold_from": "mean Otsu, no truth",
    "crf": "none",
    "scales": [0.5, 1.0, 1.5],
    "flip": True,
}

IOU = "label,iou\nbackground,90\nbird,50\n<b>cow</b>,\n$fish$,nan\n"
TEXTS = {
    "results.json": json.dumps(RESULTS),
    "protocols.json": json.dumps({"seeds/miou": SEEDS_PROTOCOL, "masks/threshold": {"method": "crf"}}),
    "environment.json": json.dumps(
        {
            "command": "train_seg.py run=x",
            "git": {"commit": "abcdef0123456789", "dirty": True},
            "machine": {"cpu": "a processor", "cores": 2},
            "torch": {"threads": 2, "precision": "bf16"},
            "packages": {"wsss": "0.1.0", "torch": "2.13.0"},
        }
    ),
    "classifier/metrics/version_0/metrics.csv": "epoch,step,train/bce,val/ap_0,val/map\n0,1,0.5,,\n0,2,,0.1,0.7\n",
    "classifier/metrics/version_1/metrics.csv": "epoch,step,train/bce,val/ap_0,val/map\n1,4,,0.1,0.75\n",
    "config.yaml": "run: x\ncomment: <script>alert(1)</script>\n",
    "seeds/curve.csv": "kind,threshold,miou\ncam,0.2,40\ncam,0.4,44\nseed,0.2,50\nseed,0.4,54.8\nseed,0.6,30\n",
    "masks/curve.csv": "threshold,miou\n0.2,60\n0.4,61.2\n",
    "seeds/iou.csv": IOU,
    "masks/iou.csv": IOU,
    "segmenter/iou.csv": IOU,
}


class FakeRun(NamedTuple):
    folder: Path
    description: DataDescription
    train_ids: list[str]
    val_ids: list[str]


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> FakeRun:
    """All parts of a finished run; not to be changed."""
    root = tmp_path_factory.mktemp("report")
    run = FakeRun(
        root / "outputs" / "my <run>", _make_data(root / "small & voc"), [f"im_{n}" for n in range(6)], ["im_6", "im_7"]
    )
    rng = np.random.default_rng(1)
    for name in ("seeds/maps/cam", "seeds/maps/recam", "masks", "segmenter/predictions"):
        (run.folder / name).mkdir(parents=True)
    for image_id in run.train_ids:
        for name in ("seeds", "seeds/maps/cam", "seeds/maps/recam"):
            save_seeds(run.folder / name / f"{image_id}.npz", rng.random((2, 6, 8)), [0, 1], SIZE)
        save_mask(run.folder / "masks" / f"{image_id}.png", rng.choice(np.array([0, 1, 2, 255], np.uint8), SIZE))
    for image_id in run.val_ids:
        save_mask(run.folder / "segmenter/predictions" / f"{image_id}.png", np.ones(SIZE, np.uint8))
    for name, text in TEXTS.items():
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text(text)
    return run


@pytest.fixture
def run(full_run: FakeRun, tmp_path: Path) -> FakeRun:
    """A copy of the finished run, to break at will."""
    folder, root = tmp_path / full_run.folder.name, tmp_path / full_run.description.root.name
    shutil.copytree(full_run.folder, folder, ignore=shutil.ignore_patterns("report"))
    shutil.copytree(full_run.description.root, root)
    return full_run._replace(folder=folder, description=dataclasses.replace(full_run.description, root=root))


def _make_data(root: Path) -> DataDescription:
    """Eight small pictures with one or two of three classes in each; masks, no XML."""
    for name in ("JPEGImages", "SegmentationClass"):
        (root / name).mkdir(parents=True)
    rows, columns = np.indices(SIZE)
    for number in range(8):
        mask = np.zeros(SIZE, np.uint8)
        mask[4:12, 4:16] = 1 if number != 5 else 3
        if number % 2:
            mask[14:22, 10:30] = 2
        mask[12] = 255
        save_mask(root / "SegmentationClass" / f"im_{number}.png", mask)
        picture = np.stack([8 * rows, 6 * columns, np.full(SIZE, 30 * number)], axis=-1).astype(np.uint8)
        Image.fromarray(picture).save(root / "JPEGImages" / f"im_{number}.jpg")
    (root / "LICENSE").write_text("a licence")
    return DataDescription("small & voc", root, CLASSES, labels="masks")
