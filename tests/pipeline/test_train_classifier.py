"""The variants of the ReCAM step and the frozen classifier, really trained for a few steps."""

from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from tests.pipeline.conftest import REPOSITORY, compose_config
from wsss.errors import InputError
from wsss.models.recam import ReCAMVariant
from wsss.pipeline.networks import load_classifier, new_classifier
from wsss.pipeline.options import check_options
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.train_classifier import classifier_step, recam_step, train_classifier, train_recam
from wsss.pipeline.training import prepare
from wsss.tasks import ReCAMTask

TINY = (
    *("backbone.name=test_resnet", "backbone.weights=none", "segmenter.init=imagenet", "limit_images=6"),
    *("classifier.batch_size=3", "recam.batch_size=3", "classifier.augment.crop=64", "logger=none"),
)
VARIANTS = {
    "pixels": {
        "bce_weight": 0.5,
        "fc2_loss": "both",
        "softmax": "present",
        "detach_max": True,
    },
    "mass": {"bce_weight": 0.0, "fc2_loss": "bce", "pooling": "mass"},
}


def overrides_of(variant: dict[str, object]) -> list[str]:
    return [f"recam.{name}={value}" for name, value in variant.items()]


def weights(run: Run, step: str) -> dict[str, Tensor]:
    return load_classifier(run.folder / step / "model.pt").state_dict()


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_a_frozen_backbone_stays_bit_for_bit_and_every_variant_then_trains_it(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    original = ReCAMTask.__init__

    def watched(self: ReCAMTask, *args: object, **options: object) -> None:
        given.append(options["variant"])
        original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ReCAMTask, "__init__", watched)
    frozen = (*TINY, "classifier.freeze_backbone=true")
    run = make_run(*frozen)
    train_classifier(run)
    prepare(run.config)
    start, trained = new_classifier(run.config, run.data.num_classes).state_dict(), weights(run, "classifier")
    assert changed(start, trained) == {"fc1.weight"}
    for name, variant in VARIANTS.items():
        own = make_run(*frozen, f"run={name}", *overrides_of(variant))
        train_classifier(own)  # taken over
        step = train_recam(own)
        assert "recam/val_map" in step.figures
        found = weights(own, "recam")
        assert all(value.isfinite().all() for value in found.values())
        assert {name.split(".")[0] for name in changed(trained, found)} == {"backbone", "fc1"}
        assert found["fc2.weight"].any()  # it starts at zero
    assert given == [ReCAMVariant(**variant) for variant in VARIANTS.values()]  # type: ignore[arg-type]


def test_all_variants_share_one_control_and_published_runs_stay_current(make_run: Callable[..., Run]) -> None:
    run = make_run(*TINY)
    with run.step("classifier", {}).working() as step:
        (step.folder / "model.pt").touch()
    plain, control = recam_step(run), recam_step(run, control=True)
    assert not {"bce_weight", "fc2_loss", "softmax", "pooling", "detach_max"} & {*plain.settings["recam"]}
    assert "freeze_backbone" not in classifier_step(run).settings["classifier"]
    assert control.settings["recam"] == plain.settings["recam"] | {"sce_weight": 0.0}
    for variant in VARIANTS.values():
        own = make_run(*TINY, *overrides_of(variant))
        assert recam_step(own).settings["recam"] == plain.settings["recam"] | variant
        assert recam_step(own, control=True).fingerprint == control.fingerprint


def test_a_softmax_over_single_labels_is_refused_before_any_training(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(*TINY, "recam.softmax=present")
    monkeypatch.setitem(run.__dict__, "train_labels", torch.eye(run.data.num_classes))
    with pytest.raises(InputError, match=r"recam\.softmax=present: no train image has two labels.*softmax=all"):
        run_pipeline(run)
    assert not (run.folder / "classifier").exists()


def test_each_preset_of_the_sweep_changes_one_choice() -> None:
    params = OmegaConf.load(REPOSITORY / "conf" / "sweep" / "recam_variants.yaml").hydra.sweeper.params
    first, *others = [compose_config("experiment=demo", f"recam={name}") for name in params.recam.split(",")]
    assert first == compose_config("experiment=demo")
    for config in others:
        check_options(config)
        assert sum(asdict(config.recam)[name] != value for name, value in asdict(first.recam).items()) == 1
