"""Maps exported before fusion give the seeds that drawing anew would."""

import json
import logging
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.pipeline.conftest import REPOSITORY, compose_config
from wsss.errors import InputError
from wsss.models import ReCAMClassifier, build_backbone
from wsss.pipeline import drawing, export_maps, make_seeds
from wsss.pipeline.config import CamConfig
from wsss.pipeline.export_maps import draw_exported, exported_bytes, fuse_image, maps_step, save_image
from wsss.pipeline.maps import draw_maps, kept_kinds
from wsss.pipeline.networks import new_classifier, save_classifier
from wsss.pipeline.options import check_options
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.train_classifier import classifier_step
from wsss.seeds import load_seeds

HALF = 2e-3  # what float16 loses of maps in [0, 1], doubled by the tanh of γ = 2
ALL_STAGES = ["stage1", "stage2", "stage3", "stage4", "stage5"]
SMALL = (
    *("recam=none", "backbone=resnet18", "backbone.weights=none", "backbone.output_stride=32", "limit_images=4"),
    *("cam.resize_long=72", "cam.batch_size=2"),
    *("cam.scales=[1]", "cam.layer_scales=[0.5,1]", "cam.flip=true", "cam.seed=[layer_cam,cam]", "cam.extra=[]"),
)
STORED = "cam.drawn_stages=[stage3,stage4,stage5]"


@pytest.fixture(scope="module")
def network() -> ReCAMClassifier:
    torch.manual_seed(0)
    network = ReCAMClassifier(build_backbone("resnet18", weights="none", output_stride=16), 4, fc2_init="default")
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (3, 3, 45, 31), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fusion": "max", "flip": False},
        {"stages": ["stage5"], "layer_scales": [1.0]},
        {"stages": ["stage1", "stage3"], "fusion": "max", "tanh_stages": ["stage1", "stage2", "stage3"]},
        {"stages": ["stage5", "stage2"], "stage_weights": [1.0, 3.0], "keep_stages": True},
        {"tanh_stages": ["stage3", "stage4", "stage5"], "gamma": 5.0, "target": "recam", "scales": [0.5, 2.0]},
    ],
)
def test_maps_fused_from_the_store_are_those_drawn_directly(
    network: ReCAMClassifier, images: Tensor, tmp_path: Path, options: dict[str, object]
) -> None:
    present, kinds = [[0, 2], [3], []], ["layer_cam", "cam", "recam"]
    config = CamConfig(**{"scales": [1.0], "layer_scales": [0.5, 1.0, 1.5], **options}, drawn_stages=ALL_STAGES)  # type: ignore[arg-type]
    direct = draw_maps(network, images, present, kinds, config)
    path = tmp_path / "image.npz"
    found: set[str] = set()
    for kind, drawn in draw_exported(network, images, present, kinds, config).items():
        for index, of_image in enumerate(drawn):
            save_image(path, of_image, present[index], (45, 31))
            fused, classes, size = fuse_image(path, kind, config)
            assert (classes, size) == (present[index], (45, 31))
            for kept, maps in fused.items():
                torch.testing.assert_close(maps, direct[kept][index], rtol=0, atol=HALF)
            found |= {*fused}
    assert found == {*direct} == {*kept_kinds(kinds, config)}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Runs of one folder of outputs, whose classifier is there, untrained; each is told its name."""
    outputs = tmp_path_factory.mktemp("outputs")

    def make_run(name: str, *overrides: str) -> Run:
        root = f"data.root={REPOSITORY / 'data' / 'mini_voc'}"
        common = ["trainer.accelerator=cpu", "trainer.num_workers=0", f"outputs={outputs}", root, f"run={name}"]
        run = Run(compose_config("experiment=smoke", *common, *SMALL, *overrides))
        step = classifier_step(run)
        if not step.skip():
            torch.manual_seed(0)
            with step.working():
                save_classifier(run, step.folder / "model.pt", new_classifier(run.config, run.data.num_classes))
        return run

    return make_run


@pytest.fixture(scope="module")
def first(make: Callable[..., Run]) -> Run:
    """A run that has exported its maps, and fused one stage of them."""
    run = make("first", STORED, "cam.stages=[stage5]")
    make_seeds.make_seeds(run)
    return run


def refuse(*args: object, **options: object) -> None:
    raise AssertionError("a network was run")


def seeds_of(run: Run) -> np.ndarray:
    return np.concatenate([load_seeds(run.folder / "seeds" / f"{image_id}.npz").maps for image_id in run.train_ids])


def test_one_export_serves_all_choices_of_stages_and_fusion(
    make: Callable[..., Run], first: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    choices = {
        "second": ["cam.stages=[stage4,stage5]"],
        "third": ["cam.stages=[stage3,stage4,stage5]", "fusion=max", "cam.keep_stages=true"],
        "fourth": ["cam.stages=[stage4,stage5]", "cam.seed=[layer_cam,layer_cam,cam]", "cam.gamma=3"],
    }
    direct = make("direct", *choices["second"])
    make_seeds.make_seeds(direct)
    monkeypatch.setattr(drawing, "predict", refuse)
    seeds = [seeds_of(first)]
    for name, options in choices.items():
        caplog.clear()
        run = make(name, STORED, "until=seeds", *options)
        results = run_pipeline(run)
        assert f"maps: taken from {first.folder}" in caplog.text
        assert {"seeds/miou", "seeds/layer_cam/miou", "seeds/cam/miou", "seeds/seconds_per_image"} <= {*results}
        seeds.append(seeds_of(run))
    assert "seeds/layer_cam_stage3/miou" in json.loads((direct.folder.parent / "third" / "results.json").read_text())
    np.testing.assert_allclose(seeds[1], seeds_of(direct), atol=HALF)
    for one, other in [(0, 1), (0, 2), (1, 2), (1, 3)]:
        assert abs(seeds[one] - seeds[other]).max() > 0.02


def test_the_export_is_anew_only_for_what_maps_depend_on(make: Callable[..., Run], first: Run) -> None:
    known = maps_step(first).fingerprint
    same = ["cam.thresholds=10", "cam.tanh_stages=[]", "cam.batch_size=1", "cam.seed=[cam]", "cam.extra=[layer_cam]"]
    assert maps_step(make("first", STORED, *same)).fingerprint == known
    for other in ("cam.layer_scales=[1]", "cam.extra=[grad_cam]", "cam.drawn_stages=[stage5]"):
        assert maps_step(make("first", STORED, "cam.stages=[stage5]", other)).fingerprint != known


def test_without_drawn_stages_a_step_is_what_it_was(make: Callable[..., Run]) -> None:
    step = make_seeds.seeds_step(make("plain"))
    assert "drawn_stages" not in step.settings["cam"]
    assert {*step.inputs} == {"classifier"}


def test_an_interrupted_export_makes_only_what_is_missing(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make("interrupted", STORED, "reuse=false")
    saved: list[Path] = []
    original = export_maps.save_stage_maps

    def failing(path: Path, *args: object) -> None:
        if len(saved) == 3:
            raise KeyboardInterrupt
        original(path, *args)  # type: ignore[arg-type]
        saved.append(path)

    monkeypatch.setattr(export_maps, "save_stage_maps", failing)
    with pytest.raises(KeyboardInterrupt):
        make_seeds.make_seeds(run)
    assert not (run.folder / "seeds").exists()
    kept = {path: path.stat().st_mtime_ns for path in saved}
    monkeypatch.setattr(export_maps, "save_stage_maps", original)
    make_seeds.make_seeds(run)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert len([*(run.folder / "maps" / "layer_cam").iterdir()]) == 4


def test_an_interrupted_fusion_goes_on(first: Run, make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("cut", STORED, "cam.stages=[stage3]")
    fused: list[Path] = []
    original = export_maps.fuse_image

    def failing(path: Path, *args: object) -> object:
        if len(fused) == 2:
            raise KeyboardInterrupt
        fused.append(path)
        return original(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(export_maps, "fuse_image", failing)
    with pytest.raises(KeyboardInterrupt):
        make_seeds.make_seeds(run)
    monkeypatch.setattr(export_maps, "fuse_image", lambda *args: fused.append(args[0]) or original(*args))
    make_seeds.make_seeds(run)
    assert len(fused) == len({*fused}) == 8  # four images, two kinds


def test_the_disk_that_is_asked_for_is_what_the_arrays_take(first: Run) -> None:
    taken = 0
    for path in (first.folder / "maps").rglob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            taken += sum(file[name].nbytes for name in file if file[name].dtype.kind == "f")
    assert exported_bytes(first, drawing.original_sizes(first, first.train_ids)) == taken


def test_too_small_a_disk_is_refused_before_anything_is_drawn(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = make("full", STORED, "reuse=false")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(drawing.shutil, "disk_usage", lambda path: usage(1000))
    monkeypatch.setattr(drawing, "predict", refuse)
    with pytest.raises(InputError, match=r"maps: \d+\.\d{3} MB needed, 0\.001 MB free"):
        make_seeds.make_seeds(run)
    assert "maps and seeds: up to" in caplog.text


def test_drawn_stages_must_hold_all_that_are_fused() -> None:
    with pytest.raises(InputError, match=r"cam\.drawn_stages=\['stage5'\]: expected all of cam\.stages, stage3 and st"):
        check_options(compose_config("experiment=smoke", "cam.drawn_stages=[stage5]"))
    # The tanh of stages that are not fused is passed over, as it is where maps are drawn directly.
    check_options(compose_config("experiment=smoke", "cam.drawn_stages=[stage5]", "cam.stages=[stage5]"))
    with pytest.raises(InputError, match=r"cam\.drawn_stages=.*: expected each stage once"):
        check_options(compose_config("cam.stages=[stage5]", "cam.drawn_stages=[stage5,stage5]"))
