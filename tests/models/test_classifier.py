"""The classifier's logits are the mean of its class maps; the heads are told apart from the backbone."""

from __future__ import annotations

import pytest
import torch

from wsss.models import Classifier, ReCAMClassifier, build_backbone


@pytest.fixture(scope="module")
def model() -> ReCAMClassifier:
    return ReCAMClassifier(build_backbone("test_resnet", weights="none"), 5).eval()


def test_logits_are_the_mean_of_the_class_maps(model: ReCAMClassifier) -> None:
    images = torch.rand(2, 3, 32, 48)
    maps = model.fc1(model.features(images))  # (B, N, h, w), before ReLU
    torch.testing.assert_close(model(images), maps.mean(dim=(2, 3)))


def test_global_max_pooling_takes_the_best_cell_of_each_channel() -> None:
    network = Classifier(build_backbone("test_resnet", weights="none"), 5, pooling="gmp").eval()
    images = torch.rand(2, 3, 32, 48)
    best = network.features(images).flatten(2).max(dim=2).values  # (B, C)
    torch.testing.assert_close(network(images), best @ network.fc1_weight.T)


def test_weights_are_matrices(model: ReCAMClassifier) -> None:
    channels = model.backbone.channels[model.backbone.last_stage]
    assert model.fc1_weight.shape == model.fc2_weight.shape == (5, channels)


def test_logits_are_float32_in_mixed_precision(model: ReCAMClassifier) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.rand(1, 3, 32, 32)).dtype == torch.float32


def test_the_second_head_starts_undecided_unless_asked(model: ReCAMClassifier) -> None:
    assert (model.fc2_weight == 0).all()
    other = ReCAMClassifier(build_backbone("test_resnet", weights="none"), 5, fc2_init="default")
    assert (other.fc2_weight != 0).any()


def test_head_parameters_are_those_outside_the_backbone(model: ReCAMClassifier) -> None:
    assert {id(p) for p in model.head_parameters} == {id(model.fc1.weight), id(model.fc2.weight)}


def test_a_classifiers_weights_fill_a_recam_classifier_but_for_the_second_head() -> None:
    first = Classifier(build_backbone("test_resnet", weights="none"), 3)
    second = ReCAMClassifier(build_backbone("test_resnet", weights="none"), 3)
    missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
    assert missing == ["fc2.weight"]
    assert not unexpected
