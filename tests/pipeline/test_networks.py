"""Segmenters of every architecture: built from a run's options, kept as model files, read again."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from wsss import load_segmenter
from wsss.errors import InputError
from wsss.models.files import read_model, save_model
from wsss.pipeline.networks import load_classifier, new_classifier, new_segmenter, save_classifier, save_segmenter
from wsss.pipeline.run import Run
from wsss.pipeline.train_classifier import classifier_step, train_classifier

SMALL = ("backbone.name=test_resnet", "backbone.weights=none", "segmenter.init=imagenet")
ARCHITECTURES = [
    ["segmenter=deeplab_v1", "segmenter.channels=16"],
    ["segmenter=deeplab_v2", "segmenter.multi_scale_inputs=[0.5,0.75]", "segmenter.output_stride=8"],
    ["segmenter=deeplab_v3"],
    ["segmenter=deeplab_v3plus", "segmenter.separable=true"],
    ["segmenter=smp", "segmenter.encoder=tu-test_resnet", "segmenter.encoder_weights=none"],
    ["segmenter=segformer", "segmenter.encoder_weights=none"],
]


@pytest.mark.parametrize("overrides", ARCHITECTURES, ids=lambda overrides: overrides[0].split("=")[1])
def test_a_model_file_holds_all_that_its_network_is_built_from(
    make_run: Callable[..., Run], tmp_path: Path, overrides: list[str]
) -> None:
    if overrides[0] in ("segmenter=smp", "segmenter=segformer"):
        pytest.importorskip("segmentation_models_pytorch")
    run = make_run(*SMALL, *overrides)
    network = new_segmenter(run).eval()
    save_segmenter(run, tmp_path / "model.pt", network)
    kept = read_model(tmp_path / "model.pt", kinds=("segmenter",)).network
    assert kept["backbone"]["weights"] == "none"
    assert kept.items() >= network.options.items()
    segmenter = load_segmenter(tmp_path / "model.pt")
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = network(torch.from_numpy(image).permute(2, 0, 1)[None]).softmax(dim=1)[0]
    torch.testing.assert_close(torch.from_numpy(segmenter.probabilities(image)), expected, rtol=1e-3, atol=1e-4)
    assert segmenter(image).shape == (50, 70)


@pytest.mark.parametrize("pooling", ["gap", "gmp"])
def test_a_classifiers_file_remembers_its_pooling(make_run: Callable[..., Run], tmp_path: Path, pooling: str) -> None:
    run = make_run(*SMALL, "recam=none", f"classifier.pooling={pooling}")
    network = new_classifier(run.config, run.data.num_classes).eval()
    save_classifier(run, tmp_path / "model.pt", network)
    again = load_classifier(tmp_path / "model.pt").eval()
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again(images), network(images))
    assert again.pooling == pooling


def test_a_classifiers_file_of_before_there_was_a_choice_is_averaged(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(*SMALL, "recam=none")
    network = new_classifier(run.config, run.data.num_classes)
    settings = {"backbone": {**asdict(run.config.backbone), "weights": "none"}}
    save_model(tmp_path / "model.pt", network, kind="classifier", network=settings, classes=list(run.data.classes))
    assert load_classifier(tmp_path / "model.pt").pooling == "gap"


def test_a_softmax_classifier_wants_one_label_an_image(make_run: Callable[..., Run]) -> None:
    run = make_run(*SMALL, "recam=none", "classifier.loss=softmax")
    with pytest.raises(InputError, match=r"classifier\.loss=softmax: image mini_\d+ has \d labels, expected one"):
        train_classifier(run)


def test_options_that_came_later_leave_finished_runs_current(make_run: Callable[..., Run]) -> None:
    settings = classifier_step(make_run(*SMALL, "recam=none")).settings["classifier"]
    assert not {"pooling", "loss"} & {*settings}
    changed = classifier_step(make_run(*SMALL, "recam=none", "classifier.pooling=gmp")).settings["classifier"]
    assert changed == {**settings, "pooling": "gmp"}


def test_the_segmenter_may_have_a_backbone_of_its_own(make_run: Callable[..., Run]) -> None:
    own = ["segmenter.backbone.name=resnet18", "segmenter.backbone.freeze_norm=true", "segmenter.output_stride=16"]
    network = new_segmenter(make_run(*SMALL, *own))
    assert network.backbone.channels["stage5"] == 512
    assert network.backbone.strides["stage5"] == 16
    assert network.backbone.freeze_norm


def test_only_the_runs_own_backbone_starts_from_its_classifier(make_run: Callable[..., Run]) -> None:
    with pytest.raises(InputError, match=r"segmenter\.init=classifier: .*resnet18 cannot start from .* test_resnet"):
        make_run("backbone.name=test_resnet", "segmenter.backbone.name=resnet18", "segmenter.init=classifier")
