"""Photographs and true masks that others have taken the place of, under the same names."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from tests.pipeline.conftest import SMALL
from wsss.errors import InputError
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.run import Run
from wsss.pipeline.self_training import train_segmenters
from wsss.pipeline.step import Step
from wsss.pipeline.train_classifier import train_classifier


@pytest.fixture
def run_of(make_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """Runs on a copy of the first images of mini_voc, which tests may change."""
    source, root = make_run().data.root, tmp_path / "data"
    for folder in ("JPEGImages", "SegmentationClass"):
        shutil.copytree(source / folder, root / folder)
    for name in ("Annotations", "ImageSets", "classes.txt"):
        (root / name).symlink_to(source / name)
    return lambda *options: make_run(*SMALL, "masks=threshold", f"data.root={root}", *options)


def finish(run: Run, name: str, *inputs: str) -> Step:
    """A step that leaves a file and a score."""
    step = run.step(name, {}, inputs)
    with step.working():
        (step.folder / "model.pt").touch()
        step.add_figure(f"{name}/miou", 50.0)
    return step


def replace(path: Path) -> None:
    """Other pixels under the same name, of the same size and time."""
    state = path.stat()
    other = ImageOps.invert(Image.open(path)) if path.suffix == ".jpg" else Image.open(path).transpose(0)  # mirrored
    other.save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_steps_of_other_photographs_are_refused_and_redone_if_wished(run_of: Callable[..., Run]) -> None:
    run = run_of()
    finish(run, "classifier")
    finish(run, "seeds", "classifier")
    known = (run.folder / "environment.json").read_bytes()
    path = run.data.image_path(run.val_ids[0])
    replace(path)

    step = run_of().step("classifier", {})
    assert not step.skip()
    with pytest.raises(InputError, match=rf"classifier: made with other photographs .*{path.name}, of 20.*overwrite"):
        step.working().__enter__()
    with pytest.raises(InputError, match=r"classifier: made with other photographs than .*overwrite=true"):
        run_of().step("seeds", {}, ["classifier"])
    assert (run.folder / "environment.json").read_bytes() == known

    redone = run_of("overwrite=true")
    finish(redone, "classifier")
    assert "seeds/miou" not in redone.write_results()
    assert not redone.step("seeds", {}, ["classifier"]).is_finished
    assert (run.folder / "environment.json").read_bytes() != known


def test_steps_of_other_images_are_built_upon(run_of: Callable[..., Run]) -> None:
    finish(run_of("limit_images=4"), "classifier")
    run = run_of("limit_images=6")
    finish(run, "seeds", "classifier")
    assert {"classifier/miou", "seeds/miou"} <= {*run.write_results()}


def test_no_run_takes_over_what_others_made_of_other_photographs(run_of: Callable[..., Run]) -> None:
    run = run_of("run=first")
    finish(run, "classifier")
    assert run_of("run=second").step("classifier", {}).skip()
    replace(run.data.image_path(run.train_ids[0]))
    assert not run_of("run=third").step("classifier", {}).skip()


def test_photographs_that_were_touched_are_the_same(run_of: Callable[..., Run]) -> None:
    run = run_of()
    finish(run, "classifier")
    run.data.image_path(run.train_ids[0]).touch()
    assert run_of().step("classifier", {}).skip()


def test_an_interrupted_step_does_not_go_on_with_other_photographs(run_of: Callable[..., Run]) -> None:
    run = run_of()
    with suppress(KeyboardInterrupt), run.step("classifier", {}).working() as step:
        (step.folder / "last.ckpt").touch()
        raise KeyboardInterrupt
    replace(run.data.image_path(run.train_ids[0]))
    with pytest.raises(InputError, match="made with other photographs"):
        run_of().step("classifier", {}).working().__enter__()


def test_runs_that_do_not_say_what_they_have_seen_are_kept(run_of: Callable[..., Run]) -> None:
    step = finish(run_of(), "classifier")
    manifest = json.loads(step.manifest_path.read_text())
    del manifest["pictures"]
    step.manifest_path.write_text(json.dumps(manifest))
    replace(step.run.data.image_path(step.run.train_ids[0]))
    assert run_of().step("classifier", {}).skip()


def test_other_true_masks_are_scored_anew_and_teach_the_twin_anew(run_of: Callable[..., Run]) -> None:
    def work(*options: str) -> Run:
        run = run_of("segmenter.supervised_twin=true", *options)
        train_classifier(run)
        make_seeds(run)
        make_masks(run)
        train_segmenters(run)
        return run

    run = work()
    before = run.write_results()
    kept = {name: (run.folder / name / "model.pt").stat().st_mtime_ns for name in ("classifier", "segmenter")}
    for image_id in {*run.score_ids, *run.val_ids}:
        replace(run.data.mask_path(image_id))
    with pytest.raises(InputError, match=r"segmenter_supervised: made with other true masks .*overwrite=true"):
        work()
    after = run.write_results()
    assert before["seeds/oracle_miou"] != after["seeds/oracle_miou"]
    assert before["masks/miou"] != after["masks/miou"]
    twin = (run.folder / "segmenter_supervised" / "model.pt").read_bytes()
    work("overwrite=true")
    assert (run.folder / "segmenter_supervised" / "model.pt").read_bytes() != twin
    assert kept["classifier"] == (run.folder / "classifier" / "model.pt").stat().st_mtime_ns
