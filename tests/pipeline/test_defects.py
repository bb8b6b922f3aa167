"""experiment=defects on small tiles: photographs without a defect, and a single class."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.defects import write_tiles
from tests.pipeline.conftest import compose_config
from wsss.data import read_mask
from wsss.errors import InputError
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.prepare.defects import merge_kinds, prepare_magnetic_tile
from wsss.seeds import load_seeds

SMALL = ["backbone=resnet18", "backbone.weights=none", "classifier.epochs=1", "classifier.batch_size=8"]
SIZES = ["classifier.augment.crop=48", "classifier.augment.resize_long=[40,48]", "cam.resize_long=48"]


def small_run(root: Path, outputs: Path, *overrides: str) -> Run:
    common = ["trainer.accelerator=cpu", "trainer.num_workers=0", "masks.jobs=1", "masks=threshold"]
    places = [f"data.root={root}", f"outputs={outputs}"]
    return Run(compose_config("experiment=defects", *SMALL, *SIZES, *common, *places, *overrides))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepare_magnetic_tile(write_tiles(tmp_path / "source", range(1000, 13000, 1000)), tmp_path / "tiles", full=True)
    return tmp_path / "tiles"


@pytest.mark.parametrize("kinds", [5, 1])
def test_every_kind_of_map_and_stage_is_scored(root: Path, tmp_path: Path, kinds: int) -> None:
    if kinds == 1:
        merge_kinds(root, tmp_path / "merged")
        root = tmp_path / "merged"
    run = small_run(root, tmp_path / "out")
    results = run_pipeline(run)
    assert run.data.num_classes == kinds
    assert run.has_train_truth
    for kind in ("layer_cam", "grad_cam", "grad_cam_pp"):
        for stage in ("", "_stage3", "_stage4", "_stage5"):
            assert 0 < results[f"seeds/{kind}{stage}/miou"] < 100
    blank = next(i for i in run.train_ids if i.startswith("free"))
    assert not len(load_seeds(run.folder / "seeds" / f"{blank}.npz").classes)
    make_masks(run)
    assert not read_mask(run.folder / "masks" / f"{blank}.png").any()


def test_recam_is_refused_on_one_class_before_any_training(root: Path, tmp_path: Path) -> None:
    merge_kinds(root, tmp_path / "merged")
    run = small_run(tmp_path / "merged", tmp_path / "out", "recam=default")
    with pytest.raises(InputError, match=r"merged: defect is its only class, and ReCAM compares classes; pass recam"):
        run_pipeline(run)
    assert not (run.folder / "classifier").exists()
