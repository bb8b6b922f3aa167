"""Options that no step could work with are refused before any work."""

import pytest

from tests.pipeline.conftest import EXPERIMENTS, compose_config
from wsss.errors import InputError
from wsss.masks import CRFParams
from wsss.pipeline.options import check_options, for_processes
from wsss.pipeline.ranges import CHOICES, SEED_KINDS

REFUSED = [
    "masks.refine=affinity",
    "masks.walk.keep=1",
    "masks.walk.radius=1",
    "masks.walk.scales=[]",
    "masks.par.dilations=[0]",
    "masks.relations.epochs=0",
    "masks.relations.optimizer.lr=0",
    *(f"{name}=nonsense" for name in CHOICES if name != "data.labels"),
    *("classifier.epochs=0", "segmenter.batch_size=0", "cam.thresholds=0", "limit_images=0"),
    *("recam.sce_weight=-1", "recam.bce_weight=-1", "trainer.num_workers=-1", "masks.jobs=0"),
    *("masks.threshold=1", "masks.threshold=-0.1"),
    *("classifier.optimizer.lr=0", "masks.crf.bilateral_srgb=0", "masks.crf.gt_prob=1"),
    *("masks.scheduler=tcp://head:8786", "masks.crf.gt_prob=0.5", "data.cache_long=0", "data.val_share=1"),
    *("cam.seed=[]", "cam.scales=[0]", "cam.stages=[stage9]", "cam.tanh_stages=[layer3]", "cam.extra=[gradcam]"),
    *("cam.drawn_stages=[stage9]", "cam.drawn_stages=[]"),
    *("cam.stage_weights=[1]", "cam.stage_weights=[-1,1,1]", "cam.stage_weights=[0,0,0]", "cam.gamma=0"),
    *("cam.seed=[control]", "segmenter.skip_stage=stage6", "segmenter.atrous_rates=[0]", "run=' '"),
    *("run=../elsewhere", "run=/elsewhere", "run=a/../../b"),
    *("segmenter.multi_scale_inputs=[0]", "segmenter.optimizer.bias_lr_factor=0", "segmenter.encoder=resnet34"),
    *("inference.scales=[]", "inference.scales=[0]", "inference.window=8", "inference.overlap=1"),
    *("localization.connectivity=6", "localization.kinds=[]", "localization.fractions=0", "faithfulness.steps=0"),
    *("faithfulness.percentiles=[0]", "faithfulness.percentiles=[110]", "faithfulness.percentiles=[]"),
    *("evaluation.void=maybe", "evaluation.absent=maybe", "evaluation.boundary=0", "evaluation.jobs=0"),
    *("classifier.augment.crop=0", "classifier.augment.scale=[2,1]", "classifier.augment.resize_long=[64]"),
]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_in_range(experiment: str) -> None:
    check_options(compose_config(f"experiment={experiment}", "data.root=somewhere"))


def test_c_mwp_of_a_network_of_relus_is_taken() -> None:
    check_options(compose_config("experiment=smoke", "cam=c_mwp", "cam.stages=[stage3,stage5]"))


def test_c_mwp_is_tried_from_the_shallowest_stage_that_is_drawn() -> None:
    last = ["experiment=smoke", "cam=c_mwp", "cam.stages=[stage5]", "backbone.name=efficientnet_b0"]
    check_options(compose_config(*last))  # nothing follows the last stage
    with pytest.raises(InputError, match="c_mwp cannot be drawn from this backbone"):
        check_options(compose_config(*last, "cam.drawn_stages=[stage4,stage5]"))


@pytest.mark.parametrize("override", REFUSED)
def test_a_value_out_of_range_is_named(override: str) -> None:
    config = compose_config("experiment=smoke", override)
    with pytest.raises(InputError) as caught:
        check_options(config)
    message = str(caught.value)
    assert message.startswith(override.split("=")[0])
    assert "expected" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["recam=none", "cam.target=recam"], "cam.target"),
        (["recam.sce_weight=0", "recam.bce_weight=0"], r"recam\.bce_weight=0.*more than 0, where .*sce_weight is 0"),
        (
            ["recam.fc2_loss=bce", "recam.softmax=present"],
            r"recam\.softmax=present: expected all, where .*fc2_loss=bce",
        ),
        (["recam.pooling=mass", "recam.detach_max=true"], r"recam\.detach_max=True: expected false, where .*=mass"),
        (["fusion=max", "cam.stage_weights=[1,1,1]"], "cam.fusion"),
        (
            ["cam.extra=[c_mwp]", "backbone.name=efficientnet_b0"],
            r"c_mwp cannot be drawn from this backbone .*no rule for .* in stages\.stage.*; take resnet50",
        ),
        (["segmenter=deeplab_v2", "segmenter.channels=64"], "segmenter.channels=64"),
        (
            ["segmenter.backbone.name=resnet18"],
            "segmenter.init=classifier: expected imagenet, since segmenter.backbone.name=resnet18",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(overrides: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_options(compose_config("experiment=smoke", *overrides))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("segmenter.init=classifier", "segmenter.init=classifier: expected imagenet, since segmenter.encoder=resnet34"),
        ("segmenter.backbone.name=resnet18", "segmenter.backbone.name=resnet18: expected null"),
        ("segmenter.arch=Unett", "did you mean Unet"),
    ],
)
def test_what_an_smp_network_cannot_do_is_told_before_any_step(override: str, named: str) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(InputError, match=named):
        check_options(compose_config("experiment=smoke", "segmenter=smp", override))


@pytest.mark.parametrize("option", ["iterations=0", "bilateral_srgb=0", "gaussian_compat=-1", "backend=cuda"])
def test_a_crf_of_inference_out_of_range_is_named(option: str) -> None:
    config = compose_config("inference=multi_scale_crf", f"++inference.crf.{option}")
    with pytest.raises(InputError, match=rf"inference\.crf\.{option}[.0]*: expected"):
        check_options(config)


@pytest.mark.parametrize("override", ["inference.crf={bilateral_srgb:7}", "+inference.crf.bilateral_srgb=7"])
def test_a_crf_of_inference_is_given_by_the_options_that_differ(override: str) -> None:
    assert compose_config(override).inference.crf == CRFParams(bilateral_srgb=7)


@pytest.mark.parametrize("given", ["{sharpness:1}", "{iterations:many}", "true", "fine"])
def test_what_is_no_crf_of_inference_is_named_with_its_options(given: str) -> None:
    with pytest.raises(InputError, match=r"inference\.crf=.*; its options are iterations, .*bilateral_srgb"):
        compose_config(f"inference.crf={given}")


def test_the_control_is_a_seed_where_it_is_trained() -> None:
    check_options(compose_config("experiment=demo_control", f"cam.seed=[{','.join(SEED_KINDS)}]"))


def test_processes_share_a_batch_or_multiply_it_by_a_rule() -> None:
    config = compose_config("experiment=smoke", "classifier.batch_size=6", "recam=none", "segmenter.batch_size=8")
    assert for_processes(config, 1) is config
    assert for_processes(config, 2) == config
    with pytest.raises(InputError, match=r"classifier\.batch_size=6: 4 processes cannot share it evenly"):
        for_processes(config, 4)
    config.trainer.batch, config.trainer.lr_rule = "per_device", "sqrt"
    grown = for_processes(config, 4)
    assert grown.classifier.batch_size == 24
    assert grown.classifier.optimizer.lr == pytest.approx(2 * config.classifier.optimizer.lr)
    assert for_processes(grown, 4) == grown
    config.trainer.batch = "global"
    with pytest.raises(InputError, match=r"trainer\.lr_rule=sqrt"):
        check_options(config)
