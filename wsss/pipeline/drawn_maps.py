"""Maps that a run has drawn of a split, and the network that judges them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wsss.errors import InputError
from wsss.models import Classifier
from wsss.pipeline.drawing import seed_ids, val_map_ids
from wsss.pipeline.make_seeds import make_val_maps, seeds_step
from wsss.pipeline.networks import load_classifier, trained_network
from wsss.pipeline.run import Run
from wsss.pipeline.training import device_of


class DrawnMaps(NamedTuple):
    """Maps on disk.

    Attributes:
        folders: kind -> folder of `<id>.npz`, see `wsss.seeds`.
        ids: images that have them and may be scored.
        split: what protocols call these.
    """

    folders: dict[str, Path]
    ids: list[str]
    split: str


def drawn_maps(run: Run, split: str, kinds: Sequence[str] | None) -> DrawnMaps:
    """Maps of the train images as `make_seeds.py` has left them, or of the val images, drawn now if need be.

    Args:
        run: with the options that the seeds were made with.
        split: train or val.
        kinds: which; None: all, and their average, `seed`.

    Raises:
        InputError: if the seeds are not whole or not made with these options, or a kind is not among them.
    """
    step = seeds_step(run)
    if split == "val":
        step = make_val_maps(run)
    elif not step.is_finished:
        raise InputError(
            f"{step.folder}: no seeds made with these options; pass those of the run, or make them with "
            f"`python scripts/make_seeds.py run={run.config.run}`"
        )
    scored = {*run.score_ids}
    ids = val_map_ids(run) if split == "val" else [i for i in seed_ids(run) if i in scored]
    if not ids:
        raise InputError(f"data.tuned_on={run.config.data.tuned_on}: leaves no image with seeds to look at")
    folders = {"seed": step.folder} | {path.name: path for path in sorted((step.folder / "maps").iterdir())}
    unknown = [kind for kind in kinds or () if kind not in folders]
    if unknown:
        raise InputError(f"{step.folder}: no maps of kind {unknown[0]}; it has {', '.join(folders)}")
    wanted = folders if kinds is None else {kind: folders[kind] for kind in kinds}
    return DrawnMaps(wanted, ids, run.config.data.val if split == "val" else run.scored_split)


def judge_name(run: Run, wanted: str | None) -> str:
    """The step whose network answers: `wanted`, by default the ReCAM network where the run has one."""
    return wanted or trained_network(run)


def load_judge(run: Run, name: str) -> Classifier:
    """The network of a step, on its device, for inference.

    Raises:
        InputError: if the run has none.
    """
    path = run.folder / name / "model.pt"
    if not path.is_file():
        raise InputError(f"{path}: no such network; choose another, or train it with `python scripts/train_cls.py`")
    return load_classifier(path).eval().requires_grad_(False).to(device_of(run.config))


def probabilities(run: Run, logits: Tensor) -> Tensor:
    """Of the classes, (…, N): what the classifier was trained to give."""
    return logits.softmax(dim=-1) if run.config.classifier.loss == "softmax" else logits.sigmoid()


def has_single_labels(run: Run) -> bool:
    """Whether every image of both splits has exactly one class."""
    return bool((torch.cat([run.train_labels, run.val_labels]).sum(dim=1) == 1).all())
