"""A run on pictures of coloured rectangles with hand-made maps, and a network that knows the colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss.data import save_mask
from wsss.models import Classifier
from wsss.pipeline.make_seeds import seeds_step
from wsss.pipeline.networks import new_classifier, save_classifier
from wsss.pipeline.run import Run
from wsss.pipeline.train_classifier import classifier_step
from wsss.seeds import save_seeds

SIDE = 24
CLASSES = list("abcdef")
NUM_TRAIN = 6
PLACE = (slice(4, 16), slice(6, 14))  # a sixth of the picture
BOX = [6, 4, 14, 16]
GOOD = np.zeros((SIDE, SIDE), np.float32)
GOOD[0:20, 2:18] = 0.18
GOOD[PLACE] = 1
BAD = 1 - np.floor(GOOD)
MAPS = {".": GOOD, "maps/cam": GOOD, "maps/layer_cam": GOOD, "maps/grad_cam": BAD}


def color_of(label: int) -> int:
    return 30 * (label + 1)


class ColorJudge(Classifier):
    """Logits that rise with the share of the picture in the class's red."""

    def forward(self, images: Tensor) -> Tensor:
        reds = (images.float() / 255 if images.dtype == torch.uint8 else images)[:, 0] * 255  # (B, H, W)
        colors = torch.tensor([color_of(c) for c in range(len(CLASSES))]).view(-1, 1, 1)
        return 20 * ((reds[:, None] - colors).abs() < 1.5).float().mean(dim=(2, 3)) - 2


def judge_of(run: Run) -> ColorJudge:
    return ColorJudge(new_classifier(run.config, len(CLASSES)).backbone, len(CLASSES)).eval().requires_grad_(False)


def shapes_run(make_run: Callable[..., Run], root: Path, *overrides: str, second: str = "") -> Run:
    """Picture i of six has one rectangle of class i; picture 0 has a larger one of class b that nobody labelled.

    The maps `cam` and `layer_cam` are 1 on the rectangle, 0.18 on a rim of 4 pixels and 0 elsewhere; `grad_cam` is 1
    everywhere but on the rectangle.

    Args:
        make_run: the fixture.
        root: a new folder.
        overrides: further options.
        second: a class that picture 5 is labelled with too; its object and its map are those of f.
    """
    (root / "images").mkdir(parents=True)
    labels = [*range(NUM_TRAIN), 0, 1]
    for number, label in enumerate(labels):
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[PLACE] = (color_of(label), 90, 90)
        if number == 0:
            picture[17:] = (color_of(1), 90, 90)
        Image.fromarray(picture).save(root / "images" / f"{number}.png")
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[PLACE] = label + 1
        save_mask(root / "masks" / f"{number}.png", mask)
    rows = [f"{i}.png,{CLASSES[c]}{';' + second if second and i == 5 else ''}" for i, c in enumerate(labels)]
    (root / "labels.csv").write_text("\n".join(["image,labels", *rows]))
    (root / "train.txt").write_text("\n".join(map(str, range(NUM_TRAIN))))
    (root / "val.txt").write_text("6\n7")
    data = ["data=folder", f"data.root={root}", f"data.classes=[{','.join(CLASSES)}]", "limit_images=null"]
    network = ["recam=none", "backbone=resnet18", "backbone.weights=none", "classifier.augment.crop=32"]
    maps = ["cam.seed=[cam]", "cam.extra=[layer_cam,grad_cam]", "evaluation.jobs=1"]
    run = make_run(*data, *network, *maps, *overrides)
    step = classifier_step(run)
    with step.working():
        save_classifier(run, step.folder / "model.pt", new_classifier(run.config, len(CLASSES)))
    step = seeds_step(run)
    with step.working():
        for number in range(NUM_TRAIN):
            classes = [CLASSES.index(second), number] if second and number == 5 else [number]
            for folder, drawn in MAPS.items():
                path = step.folder / folder / f"{number}.npz"
                save_seeds(path, np.stack([drawn] * len(classes)), sorted(classes), (SIDE, SIDE))
    return run
