"""A run that several processes share."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.scripts.test_scripts import call
from wsss.models.files import read_model

OPTIONS = (
    *(
        "experiment=smoke",
        "limit_images=5",
        "recam=none",
        "backbone=resnet18",
        "backbone.weights=none",
        "backbone.freeze_norm=true",  # each process's batch norm would see its own images
        "masks=threshold",
    ),
    *("classifier.batch_size=4", "classifier.augment.crop=64", "cam.resize_long=96", "cam.extra=[]", "logger=none"),
    *(
        "segmenter.batch_size=4",
        "segmenter.augment.crop=64",
        "segmenter.eval_resize_long=96",
        "segmenter.init=imagenet",
    ),
    *("trainer.accelerator=cpu", "trainer.num_workers=0", "trainer.threads=1", "masks.jobs=1"),
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def printed(outputs: Path) -> str:
    """What the whole pipeline says under two processes; five val images make their shares uneven."""
    result = call("run_pipeline", *OPTIONS, f"outputs={outputs}", "run=two", "trainer.devices=2")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_run_of_two_processes_speaks_and_writes_once(outputs: Path, printed: str) -> None:
    for step in ("classifier", "seeds", "masks", "segmenter"):
        assert printed.count(f"{step}: done in") == 1
        assert json.loads((outputs / "two" / step / "manifest.json").read_text())["state"] == "done"
    assert printed.count("wrote ") == 1
    assert "segmenter/val_miou" in json.loads((outputs / "two" / "results.json").read_text())
    assert {path.name for path in outputs.iterdir() if not path.name.startswith(".")} == {"two"}
    assert (outputs / "two" / "report" / "index.html").exists()


def test_one_process_comes_to_the_weights_of_two(outputs: Path, printed: str) -> None:
    result = call("train_cls", *OPTIONS, f"outputs={outputs}", "run=alone", "reuse=false")
    assert result.returncode == 0, result.stdout + result.stderr
    one, two = (
        read_model(outputs / run / "classifier" / "model.pt", kinds=("classifier",)).state_dict
        for run in ("alone", "two")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    figures = [
        json.loads((outputs / run / "results.json").read_text())["classifier/val_map"] for run in ("alone", "two")
    ]
    assert figures[0] == pytest.approx(figures[1], abs=1)


def test_one_process_goes_on_with_what_two_have_trained_and_draws_the_same_seeds(outputs: Path, printed: str) -> None:
    shutil.copytree(outputs / "two" / "classifier", outputs / "one" / "classifier")
    result = call("make_seeds", *OPTIONS, f"outputs={outputs}", "run=one", "reuse=false")
    assert result.returncode == 0, result.stdout + result.stderr
    files = sorted(path.relative_to(outputs / "one") for path in (outputs / "one" / "seeds").rglob("*.npz"))
    assert files
    assert all((outputs / "one" / name).read_bytes() == (outputs / "two" / name).read_bytes() for name in files)


def test_one_process_takes_two_ones_steps_as_its_own(outputs: Path, printed: str) -> None:
    result = call("run_pipeline", *OPTIONS, f"outputs={outputs}", "run=two")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "done in" not in result.stdout
    read_model(outputs / "two" / "segmenter" / "model.pt", kinds=("segmenter",))
