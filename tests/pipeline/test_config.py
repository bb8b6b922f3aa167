"""Every group and experiment composes; what is misspelt is refused."""

from pathlib import Path

import pytest
from hydra.errors import ConfigCompositionException
from omegaconf.errors import OmegaConfBaseException

from tests.pipeline.conftest import EXPERIMENTS, REPOSITORY, compose_config
from wsss.pipeline.architecture import architecture, check_architecture

ROOTS = {path.parent for path in (REPOSITORY / "conf").glob("*/config.yaml")}  # of scripts with options of their own
GROUPS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in (REPOSITORY / "conf").glob("*/*.yaml")
    if path.parent.name != "experiment" and path.parent not in ROOTS
)


@pytest.mark.parametrize("override", GROUPS)
def test_every_group_composes(override: str) -> None:
    root = ["data.root=somewhere"] if override in ("data=voc_sample", "data=folder") else []
    compose_config(override, *root)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment: str) -> None:
    config = compose_config(f"experiment={experiment}", "data.root=somewhere")
    assert config.run == experiment


def test_the_published_hyper_parameters_are_written_out() -> None:
    config = compose_config("experiment=voc_recam")
    assert (config.classifier.augment.crop, config.classifier.batch_size, config.classifier.epochs) == (512, 16, 5)
    assert config.classifier.optimizer.lr == 0.1
    assert config.recam.epochs == 4
    assert config.recam.optimizer.lr * config.recam.optimizer.head_lr_factor == pytest.approx(5e-4)
    assert (config.data.train, config.data.score, config.data.val) == ("trainaug", "train", "val")
    assert sorted(config.cam.scales) == [0.5, 1.0, 1.5, 2.0]
    assert config.masks.crf.bilateral_srgb == 5
    segmenter = config.segmenter
    assert (segmenter.name, segmenter.multi_scale_inputs) == ("deeplab_v2", [0.5, 0.75])
    assert architecture(config).backbone == {
        "name": "resnet101",
        "weights": "imagenet",
        "output_stride": 8,
        "frozen_stages": [],
        "freeze_norm": True,
    }
    assert (segmenter.augment.crop, segmenter.augment.scale, segmenter.batch_size) == (321, [0.5, 1.5], 10)
    assert segmenter.epochs * (10_582 // segmenter.batch_size) == pytest.approx(20_000, rel=0.01)
    optimizer = segmenter.optimizer
    assert (optimizer.lr, optimizer.head_lr_factor, optimizer.bias_lr_factor) == (2.5e-4, 10, 2)
    assert (optimizer.momentum, optimizer.weight_decay, optimizer.poly_power) == (0.9, 5e-4, 0.9)


@pytest.mark.parametrize("override", ["classifier.epoch=3", "cam.scale=[1]", "nonsense=1"])
def test_an_unknown_option_is_refused(override: str) -> None:
    with pytest.raises((ConfigCompositionException, OmegaConfBaseException)):
        compose_config(override)


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises((ConfigCompositionException, OmegaConfBaseException)):
        compose_config("classifier.epochs=many")


def test_no_config_holds_a_machine_path() -> None:
    for path in Path(REPOSITORY / "conf").rglob("*.yaml"):
        assert ": /" not in path.read_text(), path


def test_a_method_or_fusion_on_the_command_line_wins_over_the_experiment() -> None:
    experiment = compose_config("experiment=demo").cam
    assert (experiment.seed, experiment.fusion) == (["layer_cam", "layer_cam", "recam_fc1"], "mean")
    assert experiment.tanh_stages == ["stage3", "stage4", "stage5"]
    chosen = compose_config("experiment=demo", "cam=grad_cam", "fusion=max").cam
    assert (chosen.seed, chosen.extra, chosen.fusion, chosen.tanh_stages) == (["grad_cam"], [], "max", [])
    assert chosen.layer_scales == experiment.layer_scales


@pytest.mark.parametrize("group", ["deeplab_v1", "deeplab_v2", "deeplab_v3", "deeplab_v3plus", "smp", "segformer"])
def test_a_network_on_the_command_line_wins_and_leaves_the_training_of_the_experiment(group: str) -> None:
    experiment = compose_config("experiment=voc_sample", "data.root=somewhere").segmenter
    config = compose_config("experiment=voc_sample", "data.root=somewhere", f"segmenter={group}")
    chosen = config.segmenter
    assert chosen.name == (group if group.startswith("deeplab") else "smp")
    assert (chosen.epochs, chosen.augment, chosen.optimizer) == (20, experiment.augment, experiment.optimizer)
    if group == "deeplab_v3plus":
        assert chosen == experiment
    if group == "deeplab_v3":  # the same pyramid
        assert (chosen.channels, chosen.atrous_rates, chosen.skip_channels) == (64, [3, 6, 9], None)
    check_architecture(config)  # no option of another network is left
