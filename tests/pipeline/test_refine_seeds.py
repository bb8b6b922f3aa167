"""Seeds refined by IRN, AffinityNet and PAR on a slice of mini_voc."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wsss.data import VOID, read_mask
from wsss.errors import InputError
from wsss.models import IRN, AffinityNet
from wsss.models.files import save_model
from wsss.pipeline import refine_seeds as module
from wsss.pipeline.config import WalkConfig
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import seed_threshold
from wsss.pipeline.networks import new_classifier
from wsss.pipeline.refine_seeds import Refinement, load_relations, refine_seeds, train_relations
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.seeds import load_seeds, save_seeds

SMALL = ("recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "masks.relations.batch_size=2")


@pytest.fixture
def seeded_run(make_run: Callable[..., Run]) -> Callable[..., Run]:
    """Runs with an untrained classifier, and seeds that are halves of the true objects; the last image has no class."""

    def make(*overrides: str) -> Run:
        run = make_run(*SMALL, "masks.relations.epochs=1", *overrides)
        classifier = run.step("classifier", {}, [])
        with classifier.working():
            settings = {"backbone": {"name": "resnet18", "weights": "none"}}
            network = new_classifier(run.config, run.data.num_classes)
            path = classifier.folder / "model.pt"
            save_model(path, network, kind="classifier", network=settings, classes=list(run.data.classes))
        seeds = run.step("seeds", {}, [])
        with seeds.working():
            for number, image_id in enumerate(run.train_ids):
                truth = read_mask(run.data.mask_path(image_id))
                classes = [] if number == 5 else [int(v) - 1 for v in np.unique(truth) if v not in (0, VOID)]
                maps = np.array([truth == c + 1 for c in classes], float).reshape(-1, *truth.shape)[:, ::4, ::4]
                maps[..., ::2, :] *= 0.5
                save_seeds(seeds.folder / f"{image_id}.npz", maps, classes, truth.shape)
        return run

    return make


@pytest.mark.parametrize("masks", ["irn", "psa", "par"])
def test_seeds_are_refined_into_masks_and_scored(seeded_run: Callable[..., Run], masks: str) -> None:
    run = seeded_run(f"masks={masks}")
    make_masks(run)
    results = run.write_results()
    assert 0 <= results["refined/miou"] <= results["refined/oracle_miou"] <= 100
    assert "masks/miou" in results
    for image_id in run.train_ids:
        before, after = (load_seeds(run.folder / step / f"{image_id}.npz") for step in ("seeds", "refined"))
        assert after.classes.tolist() == before.classes.tolist()
        assert after.size == before.size
        if len(after.classes):
            assert 0 <= after.maps.min() <= after.maps.max() <= 1
    labels = [read_mask(run.folder / "masks" / f"{image_id}.png") for image_id in run.train_ids]
    assert not labels[5].any()


@pytest.mark.parametrize("kind", ["irn", "psa"])
def test_training_changes_the_branches_and_a_file_holds_them(
    seeded_run: Callable[..., Run], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = seeded_run(f"masks={kind}")
    begun: list[dict[str, torch.Tensor]] = []

    def remember(run: Run, step: Step, network: IRN | AffinityNet, labels: Path) -> None:
        begun.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        fit(run, step, network, labels)

    fit = module._fit
    monkeypatch.setattr(module, "_fit", remember)
    refine_seeds(run)
    trained = load_relations(run.folder / "relations" / "model.pt")
    after = trained.state_dict()
    branches = [name for name, parameter in trained.named_parameters() if not name.startswith("backbone.")]
    assert not any(torch.equal(begun[0][name], after[name]) for name in branches if after[name].dim() > 1)
    backbone = [name for name in after if name.startswith("backbone.")]
    assert all(torch.equal(begun[0][name], after[name]) for name in backbone)
    assert not trained.training
    assert sorted(path.name for path in (run.folder / "relations" / "labels").glob("*.png")) == [
        f"{image_id}.png" for image_id in sorted(run.train_ids)
    ]


def test_what_is_kept_of_the_seeds_is_an_option(seeded_run: Callable[..., Run], make_run: Callable[..., Run]) -> None:
    run = seeded_run("masks=irn", "masks.walk.keep=0")
    refine_seeds(run)
    walked = load_seeds(run.folder / "refined" / f"{run.train_ids[0]}.npz").maps
    assert abs(walked - load_seeds(run.folder / "seeds" / f"{run.train_ids[0]}.npz").maps).max() > 0.1
    half = make_run(*SMALL, "masks.relations.epochs=1", "masks=irn", "masks.walk.keep=0.5", "overwrite=true")
    refine_seeds(half)
    seeds, mixed = (load_seeds(run.folder / step / f"{run.train_ids[0]}.npz").maps for step in ("seeds", "refined"))
    np.testing.assert_allclose(mixed, (seeds + walked) / 2, atol=2e-3)


def test_finished_steps_are_kept_and_other_options_refused(
    seeded_run: Callable[..., Run], make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    make_masks(seeded_run("masks=par"))
    run = make_run(*SMALL, "masks.relations.epochs=1", "masks=par")
    with caplog.at_level("INFO"):
        make_masks(run)
    assert "refined: finished before, kept" in caplog.text
    other = make_run(*SMALL, "masks.relations.epochs=1", "masks=par", "masks.par.iterations=3")
    with pytest.raises(InputError, match=r"refined: made with other options \(refined\.iterations 10 → 3\)"):
        make_masks(other)


def test_a_threshold_is_tuned_without_walking_again(
    seeded_run: Callable[..., Run], make_run: Callable[..., Run]
) -> None:
    make_masks(seeded_run("masks=irn"))
    again = ("masks=irn", "masks.kind=threshold", "masks.threshold=0.3", "overwrite=true")
    run = make_run(*SMALL, "masks.relations.epochs=1", *again)
    before = (run.folder / "refined" / "manifest.json").read_text()
    make_masks(run)
    assert (run.folder / "refined" / "manifest.json").read_text() == before
    assert run.write_results()["masks/threshold"] == 0.3


def test_edges_of_an_image_stop_its_seeds(seeded_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = seeded_run("masks=irn", "masks.walk.keep=0")
    module.train_relations(run)

    def closed(network: IRN, image: torch.Tensor, walk: object, *, size: tuple[int, int]) -> torch.Tensor:
        edge = torch.zeros(size)
        edge[:, size[1] // 2] = 1.0
        return edge

    monkeypatch.setattr(module, "edges", closed)
    maps = torch.zeros(1, 40, 40)
    maps[:, :, :10] = 1.0
    walked = module.Refinement(run)(torch.zeros(1, 3, 160, 160, dtype=torch.uint8), maps)
    assert walked[..., :20].min() > 0.1
    assert walked[..., 20:].max() == 0


def test_edges_are_seen_at_every_scale_and_mirrored_and_brought_back() -> None:
    class Ramp(torch.nn.Module):
        """The image's own values, its width, and a ramp that falls to the right whatever the image is."""

        def edges(self, images: torch.Tensor) -> torch.Tensor:
            width = images.shape[3]
            return images[:, 0] + width / 100 + torch.linspace(1, -1, width)

    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    image[..., :20] = 255
    network: Any = Ramp()
    both = module.edges(network, image, WalkConfig(scales=[1.0, 2.0]), size=(40, 40)).logit()
    assert both[0, 5] == pytest.approx(1 + 0.6, abs=1e-4)  # ramps cancel, widths 40 and 80 average
    assert both[0, 35] == pytest.approx(0.6, abs=1e-4)
    plain = module.edges(network, image, WalkConfig(flip=False), size=(40, 40)).logit()
    assert plain[0, 39] == pytest.approx(0.4 - 1, abs=1e-4)


def test_displacements_of_the_train_images_are_centred(
    seeded_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    run = seeded_run("masks=irn")
    with caplog.at_level("INFO"):
        refine_seeds(run)
    assert "walk: up to" in caplog.text
    network: Any = load_relations(run.folder / "relations" / "model.pt")
    assert network.mean_displacement.abs().max() > 0
    with torch.inference_mode():
        means = [network(image).displacement.mean(dim=(0, 2, 3)) for _, image in module.seed_images(run, run.train_ids)]
    assert torch.stack(means).mean(dim=0).abs().max() < 0.05 * torch.stack(means).std(dim=0).max()


def test_options_of_other_kinds_make_nothing_stale(
    seeded_run: Callable[..., Run], make_run: Callable[..., Run]
) -> None:
    refine_seeds(seeded_run("masks=par"))
    others = ("masks.walk.beta=3", "masks.relations.radius=4", "masks.crf.iterations=2", "masks.threshold=0.2")
    assert module.refined_step(make_run(*SMALL, "masks.relations.epochs=1", "masks=par", *others)).is_finished


def test_a_missing_back_end_is_told_before_training(
    seeded_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = seeded_run("masks=irn", "masks.kind=threshold", "masks.crf.backend=pydensecrf")
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pydensecrf"):
        make_masks(run)
    assert not (run.folder / "relations").exists()


def test_background_of_affinity_walk_ties_with_classes_at_the_seeds_threshold(seeded_run: Callable[..., Run]) -> None:
    run = seeded_run("masks=psa")
    train_relations(run)
    threshold = seed_threshold(run, run.folder / "seeds")
    assert (1 - threshold) ** Refinement(run).background_power == pytest.approx(threshold)
    run.config.masks.walk.background_power = 16.0
    assert Refinement(run).background_power == 16
