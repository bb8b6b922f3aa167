"""Where runs come from, runs repeated, loggers, callbacks and debug options."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException

from tests.pipeline.conftest import REPOSITORY, compose_config
from tests.pipeline.test_sweep import TINY, run_script
from wsss.errors import InputError
from wsss.models.files import read_model
from wsss.pipeline import loggers
from wsss.pipeline.data_state import data_hash
from wsss.pipeline.environment import differences, git_state
from wsss.pipeline.options import check_options
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.train_classifier import classifier_step, train_classifier

SMALL = tuple(option for option in TINY if not option.startswith("experiment"))
DEBUG = sorted(path.stem for path in (REPOSITORY / "conf" / "debug").glob("*.yaml"))


def test_a_run_keeps_where_it_came_from(make_run: Callable[..., Run]) -> None:
    run = make_run(*SMALL, "until=classifier", "seed=3")
    run_pipeline(run)
    record = json.loads((run.folder / "environment.json").read_text())
    assert record["seed"] == 3
    assert record["packages"]["torch"] == torch.__version__
    assert record["machine"]["cores"] >= 1
    assert record["data"]["images"] == 8
    assert len(record["data"]["sha256"]) == 64
    assert "node" not in json.dumps(record["machine"])


def test_the_hash_of_the_data_tells_pixels_and_labels(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(*SMALL)
    splits, labels = {"train": run.train_ids}, {"train": run.train_labels}
    first = data_hash(run.data, splits, labels)
    assert data_hash(run.data, splits, labels) == first
    assert data_hash(run.data, splits, {"train": 1 - run.train_labels}) != first
    assert data_hash(run.data, {"train": run.train_ids[::-1]}, labels) != first


def test_code_without_a_repository_has_no_commit(tmp_path: Path) -> None:
    assert git_state(tmp_path) is None


def test_differences_are_named_by_their_place() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == ["a.c: 2 → 3", "d: None → 4"]


def test_a_run_repeated_has_equal_figures_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(monkeypatch, *TINY, "until=masks", f"outputs={tmp_path}", "run=first", "masks.jobs=1") == 0
    again = [f"reproduce={tmp_path / 'first'}", "trainer.progress=false"]
    assert run_script(monkeypatch, *again) == 0
    record = json.loads((tmp_path / "first_reproduced" / "reproduction.json").read_text())
    assert record["equal"]
    assert record["environment"] == []
    assert {"seeds/miou", "masks/miou", "classifier/val_map"} <= {*record["figures"]}
    assert all(counts["equal"] == counts["of"] > 0 for counts in record["files"].values())
    assert "all figures are equal" in capsys.readouterr().out
    results = tmp_path / "first" / "results.json"
    changed = json.loads(results.read_text())
    changed["masks/miou"] += 1
    results.write_text(json.dumps(changed))
    assert run_script(monkeypatch, *again) == 1
    assert "done in" not in capsys.readouterr().out  # nothing is made again
    assert run_script(monkeypatch, *again, "reproduce_tolerance=1.5") == 0


def test_what_would_change_a_repeated_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    monkeypatch.setattr("wsss.pipeline.cli._fail", lambda console, *lines: errors.extend(lines))
    Run(compose_config(*TINY, f"outputs={tmp_path}", f"data.root={REPOSITORY / 'data' / 'mini_voc'}")).save_config()
    run_script(monkeypatch, f"reproduce={tmp_path / 'smoke'}", "classifier.epochs=2")
    run_script(monkeypatch, f"reproduce={tmp_path / 'nowhere'}")
    run_script(monkeypatch, f"reproduce={tmp_path / 'smoke'}")
    assert "classifier.epochs=2: would change what reproduce=" in errors[0]
    assert "nowhere" in errors[1]
    run_script(monkeypatch, f"reproduce={tmp_path / 'smoke'}", "trainer.devices=2")
    assert "no step of this run is finished" in errors[2]
    assert "one process repeats a run, not 2; pass trainer.devices=1" in errors[3]


def test_training_stops_early_and_is_a_step_of_its_own(make_run: Callable[..., Run]) -> None:
    options = [*SMALL, "classifier.epochs=6"]
    stopping = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    run = make_run(*options, *stopping, "callbacks.early_stopping.min_delta=1")
    step = train_classifier(run)
    assert step.figures["classifier/epochs"] == 2  # the first look, and one without a rise
    assert classifier_step(make_run(*options, "run=plain")).fingerprint != step.fingerprint
    assert train_classifier(run).is_finished


def test_deterministic_training_gives_equal_bits(make_run: Callable[..., Run]) -> None:
    states = []
    for name in "ab":
        step = train_classifier(make_run(*SMALL, f"run={name}", "reuse=false", "trainer.deterministic=true"))
        states.append(read_model(step.folder / "model.pt", kinds=("classifier",)).state_dict)
    torch.use_deterministic_algorithms(False)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_without_its_package_is_refused_with_the_command_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"logger\.{name}=true.*pip install '\.\[{name}\]'"):
        check_options(compose_config("experiment=smoke", f"logger={name}"))


@pytest.mark.parametrize("name", DEBUG)
def test_debug_options_win_over_the_experiment_and_never_touch_its_run(name: str) -> None:
    config = compose_config("experiment=demo", f"debug={name}")
    assert config.run == f"debug_{name}"
    assert config.limit_images is not None
    check_options(config)


def test_a_fast_run_goes_through_every_step(make_run: Callable[..., Run]) -> None:
    options = [option for option in SMALL if "batch_size" not in option and "limit_images" not in option]
    run = make_run("debug=fdr", *options, "limit_images=3", "trainer.profiler=simple", "callbacks=model_summary")
    assert "segmenter/val_miou" in run_pipeline(run)
    assert "training_step" in next((run.folder / "classifier").glob("fit-profile*.txt")).read_text()


def test_unknown_debug_options_are_told(make_run: Callable[..., Run]) -> None:
    with pytest.raises(HydraException, match="nonsense"):
        compose_config("debug=nonsense")
