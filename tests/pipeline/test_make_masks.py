"""Masks: the same whoever makes them, whole or absent, and thresholds from little or no truth."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wsss.data import VOID, read_mask
from wsss.errors import InputError
from wsss.masks import CRFParams
from wsss.pipeline import make_masks as module
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.mask_maker import MaskMaker, mask_maker
from wsss.pipeline.run import Run
from wsss.seeds import save_seeds


@pytest.fixture
def seeded_run(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """Runs whose seeds are their true masks, blurred by noise; the last image has no class."""

    def make(*overrides: str) -> Run:
        run = make_run("limit_images=8", *overrides)
        step = run.step("seeds", {}, [])
        with step.working():
            for number, image_id in enumerate(run.train_ids):
                truth = read_mask(run.data.mask_path(image_id))
                classes = [] if number == 7 else [int(v) - 1 for v in np.unique(truth) if v not in (0, VOID)]
                noise = np.random.default_rng(number).random((len(classes), *truth.shape))
                maps = np.stack([truth == c + 1 for c in classes]) * 0.6 + 0.4 * noise if classes else noise
                save_seeds(step.folder / f"{image_id}.npz", maps[:, ::4, ::4], classes, truth.shape)
        return run

    return make


def masks_of(run: Run) -> dict[str, NDArray[np.uint8]]:
    make_masks(run)
    return {image_id: read_mask(run.folder / "masks" / f"{image_id}.png") for image_id in run.train_ids}


def are_equal(first: dict[str, NDArray[np.uint8]], second: dict[str, NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(first[image_id], second[image_id]) for image_id in first)


def test_graph_cuts_make_masks_of_the_present_classes(seeded_run: Callable[..., Run]) -> None:
    pytest.importorskip("cv2")
    run = seeded_run("masks=graphcut", "masks.oracle=[0.1]", "masks.threshold=0.4")
    masks = masks_of(run)
    for image_id, labels in zip(run.train_ids[:7], run.train_labels, strict=False):
        assert {*np.unique(masks[image_id])} <= {0, *(labels.nonzero()[:, 0] + 1).tolist()}
        assert (masks[image_id] > 0).any()
    assert not masks[run.train_ids[7]].any()
    assert read_manifest(run.folder / "masks" / "manifest.json")["protocols"]["masks/miou"]["crf"] == "none"


@pytest.mark.parametrize("kind", ["crf", "confident"])
def test_one_process_two_and_a_dask_cluster_make_the_same_masks(seeded_run: Callable[..., Run], kind: str) -> None:
    pytest.importorskip("dask.distributed")
    alone = masks_of(seeded_run(f"masks={kind}", "reuse=false", "run=alone", "masks.jobs=1"))
    for name, options in {"two": ["masks.jobs=2"], "dask": ["masks.backend=dask", "masks.jobs=2"]}.items():
        assert are_equal(alone, masks_of(seeded_run(f"masks={kind}", "reuse=false", f"run={name}", *options)))


def test_an_absent_scheduler_is_named(seeded_run: Callable[..., Run]) -> None:
    pytest.importorskip("dask.distributed")
    run = seeded_run("masks.backend=dask", "masks.scheduler=nowhere")
    with pytest.raises(InputError, match=r"masks\.scheduler=nowhere: no Dask scheduler there"):
        make_masks(run)


@pytest.mark.parametrize("kind", ["crf", "confident", "threshold"])
def test_images_and_thresholds_together_give_what_they_give_alone(seeded_run: Callable[..., Run], kind: str) -> None:
    run = seeded_run(f"masks={kind}")
    maker, thresholds = mask_maker(run), [0.3, 0.5, 0.7]
    together = maker(run.train_ids, thresholds)
    for image_id, masks in zip(run.train_ids, together, strict=True):
        for threshold, mask in zip(thresholds, masks, strict=True):
            alone = maker([image_id], [threshold])[0][0]
            assert (mask == alone).mean() > 0.9999


class KilledOnce(MaskMaker):
    """Its process is killed at the sixth image, the first time."""

    def __call__(self, image_ids: Sequence[str], thresholds: Sequence[float]) -> list[NDArray[np.uint8]]:
        flag = self.seeds.parent / "killed"
        if image_ids[0].endswith(self.victim) and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(image_ids, thresholds)

    @property
    def victim(self) -> str:
        return sorted(path.stem for path in self.seeds.glob("*.npz"))[5]


def test_a_killed_worker_leaves_whole_files_and_the_rerun_makes_the_rest(
    seeded_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = masks_of(seeded_run("run=whole", "reuse=false"))
    original = module.mask_maker
    run = seeded_run("masks.jobs=2", "reuse=false")
    fields = {field.name: getattr(original(run), field.name) for field in dataclasses.fields(MaskMaker)}
    monkeypatch.setattr(module, "mask_maker", lambda *_: KilledOnce(**fields))
    with pytest.raises(InputError, match=r"worker process was killed.*same command goes on"):
        make_masks(run)
    for path in (run.folder / "masks").glob("*.png"):
        assert np.array_equal(read_mask(path), whole[path.stem])
    assert are_equal(whole, masks_of(run))
    assert not [path for path in (run.folder / "masks").iterdir() if path.name.startswith(".")]


class KilledAlways(KilledOnce):
    """Its process is killed at the sixth image, whenever it comes to it."""

    def __call__(self, image_ids: Sequence[str], thresholds: Sequence[float]) -> list[NDArray[np.uint8]]:
        if image_ids[0].endswith(self.victim):
            os.kill(os.getpid(), signal.SIGKILL)
        return MaskMaker.__call__(self, image_ids, thresholds)


def test_a_task_that_always_ends_its_dask_worker_is_told(
    seeded_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask.distributed")
    original = module.mask_maker
    run = seeded_run("masks.jobs=2", "masks.backend=dask", "reuse=false")
    fields = {field.name: getattr(original(run), field.name) for field in dataclasses.fields(MaskMaker)}
    monkeypatch.setattr(module, "mask_maker", lambda *_: KilledAlways(**fields))
    with pytest.raises(InputError, match=r"worker process was killed.*same command goes on"):
        make_masks(run)


@pytest.mark.parametrize("backend", ["multiprocessing", "threading", "sequential"])
def test_joblibs_other_back_ends_make_the_same_masks(seeded_run: Callable[..., Run], backend: str) -> None:
    whole = masks_of(seeded_run("run=whole", "reuse=false", "masks=threshold"))
    options = ["masks.jobs=2", f"masks.backend={backend}", "reuse=false", "masks=threshold", "run=other"]
    assert are_equal(whole, masks_of(seeded_run(*options)))


def test_annotated_images_choose_the_threshold_and_are_left_out_of_the_score(seeded_run: Callable[..., Run]) -> None:
    run = seeded_run("masks=threshold", "masks.annotated=3", "masks.oracle=[-0.2,0.2]")
    step = make_masks(run)
    assert step.protocols["masks/miou"]["images"] == 5
    assert step.protocols["masks/miou"]["threshold_from"] == "3 annotated images, left out"
    assert step.figures["masks/miou"] > 80  # signal at 0.6 and above, noise below 0.4
    assert 0.4 <= step.protocols["masks/miou"]["threshold"] <= 0.6
    assert step.figures["masks/oracle_miou"] >= step.figures["masks/miou"]
    with pytest.raises(InputError, match=r"masks\.annotated=8: needs more than 8 train images with truth, found 8"):
        make_masks(seeded_run("masks.annotated=8", "run=other"))


def test_an_area_chooses_the_threshold_without_truth(seeded_run: Callable[..., Run], tmp_path: Path) -> None:
    for area in (0.1, 0.3):
        run = seeded_run("masks=threshold", f"masks.area={area}", f"run=area_{area}")
        shares = [float((mask > 0).mean()) for mask in masks_of(run).values()]
        assert np.mean(shares) == pytest.approx(area, abs=0.05)
    with pytest.raises(InputError, match=r"masks\.area=0\.99: masks can have 0\.\d\d to 0\.\d\d; name a share between"):
        make_masks(seeded_run("masks=threshold", "masks.area=0.99", "run=all"))


def test_the_torch_and_the_reference_back_end_make_the_same_masks(seeded_run: Callable[..., Run]) -> None:
    pytest.importorskip("pydensecrf")
    ours = masks_of(seeded_run())
    theirs = masks_of(seeded_run("masks.crf.backend=pydensecrf", "run=reference"))
    assert CRFParams().backend == "torch"
    agree = [float((ours[image_id] == theirs[image_id]).mean()) for image_id in ours]
    assert min(agree) >= 0.9999


def test_an_oracle_of_the_threshold_alone_has_nothing_to_add(seeded_run: Callable[..., Run]) -> None:
    run = seeded_run("masks=threshold", "masks.oracle=[0.0]")
    masks_of(run)
    assert not {"masks/oracle_miou", "masks/oracle_gap"} & {
        *read_manifest(run.folder / "masks/manifest.json")["figures"]
    }
