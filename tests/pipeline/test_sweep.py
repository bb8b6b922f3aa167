"""Sweeps: names, failures, locks, records, launchers; a search."""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from tests.pipeline.conftest import REPOSITORY, compose_config
from wsss.errors import InputError
from wsss.pipeline.processes import Place
from wsss.pipeline.run import Run
from wsss.pipeline.search import RESUMED, _ended, distribution
from wsss.pipeline.step import Step
from wsss.pipeline.step_lock import StepLock
from wsss.pipeline.sweep import combinations, machine_options
from wsss.pipeline.sweep_record import job_name, read_job, recorded

SCRIPT = str(REPOSITORY / "scripts" / "run_pipeline.py")
TINY = (
    *(
        "experiment=smoke",
        "recam=none",
        "backbone=resnet18",
        "backbone.weights=none",
        "limit_images=4",
        "masks=threshold",
    ),
    *("classifier.batch_size=2", "classifier.augment.crop=32", "cam.resize_long=64", "cam.extra=[]", "cam.seed=[cam]"),
    *("trainer.accelerator=cpu", "trainer.num_workers=0", "logger=none"),
)


def run_script(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """Exit status of the pipeline's script, run in this process, whose imports are done."""
    monkeypatch.setattr(sys, "argv", [SCRIPT, *overrides])
    try:
        runpy.run_path(SCRIPT, run_name="__main__")
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def parse(*texts: str) -> list:
    return OverridesParser.create().parse_overrides(list(texts))


def test_jobs_are_named_after_what_differs_between_them() -> None:
    found = combinations(parse("seed=0,1", "run=x", "cam.stages=[stage5],[stage4,stage5]"))
    assert [name for _, name in found] == [
        "seed=0,cam.stages=stage5",
        "seed=0,cam.stages=stage4+stage5",
        "seed=1,cam.stages=stage5",
        "seed=1,cam.stages=stage4+stage5",
    ]
    assert found[3][0] == ["seed=1", "run=x", "cam.stages=[stage4,stage5]"]
    with pytest.raises(HydraException, match=r"interval.*hparams_search"):
        combinations(parse("recam.sce_weight=interval(0,1)"))


def test_names_are_safe_and_short_and_differ() -> None:
    names = {job_name([f"data.root=a/b:{i}?" + 300 * "x"]) for i in range(3)}
    assert len(names) == 3
    assert all(len(name) < 140 and not {*name} & {*'/:?"<>|*'} for name in names)
    assert job_name(["a=1"]) == "a=1"


def test_a_job_that_fails_leaves_its_reason_and_goes_no_further(tmp_path: Path) -> None:
    with recorded(tmp_path, str):
        raise InputError("no such file")
    failed = read_job(tmp_path)
    assert (failed["state"], failed["reason"]) == ("failed", "no such file")
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path, str):
        raise KeyboardInterrupt
    assert read_job(tmp_path)["state"] == "unfinished"
    with recorded(tmp_path, str):
        pass
    assert read_job(tmp_path)["state"] == "done"


def test_cores_are_divided_where_the_user_has_not_said_how() -> None:
    from omegaconf import OmegaConf

    options = OmegaConf.structured(compose_config("experiment=smoke", "trainer.num_workers=0"))
    assert machine_options(options, 3) == ["trainer.threads=3", "masks.jobs=3"]


def test_of_two_runs_that_want_a_step_one_makes_it_and_the_other_takes_it(
    make_run: Callable[..., Run], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = (
        make_run("limit_images=2", f"run={name}").step("some", {"option": 1}, outputs=["file"]) for name in "ab"
    )
    assert not first.skip()
    waiting, taken = Event(), []

    class Listening(StepLock):
        def _told(self) -> str:
            waiting.set()
            return super()._told()

    second._lock = Listening(Path(second.run.config.outputs), "some", second.fingerprint)
    # `is_singleton` would give this process's second lock for the first: another object stands for another process.
    second._lock._lock = type(second._lock._lock)(second._lock._lock.lock_file, thread_local=False)
    thread = Thread(target=lambda: taken.append(second.skip()))
    thread.start()
    assert waiting.wait(timeout=60)
    assert not taken
    with first.working():
        (first.folder / "file").write_text("made")
    thread.join(timeout=60)
    assert taken == [True]
    assert (second.folder / "file").read_text() == "made"
    assert f"waiting for {first.run.folder}" in caplog.text


def test_a_lock_dies_with_the_process_that_holds_it(tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from wsss.pipeline.step_lock import StepLock; "
        f"StepLock(Path({str(tmp_path)!r}), 'step', 'f').acquire(Path('run')); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, cwd=REPOSITORY)
    assert killed.returncode < 0
    lock = StepLock(tmp_path, "step", "f")
    lock.acquire(tmp_path / "other")
    lock.release()


def test_a_failed_step_frees_its_lock(make_run: Callable[..., Run]) -> None:
    def step() -> Step:
        return make_run("limit_images=2").step("some", {"option": 1}, outputs=["file"])

    failing = step()
    assert not failing.skip()
    with pytest.raises(RuntimeError), failing.working():
        raise RuntimeError
    assert not failing._lock._lock.is_locked
    assert not step().skip()


def test_a_failing_job_is_listed_and_the_others_share_their_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-m", *TINY, "until=seeds", f"outputs={tmp_path}", "run=sweep", "cam.gamma=1,2,-1"]
    assert run_script(monkeypatch, *command) == 1
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [(job["run"], job["state"]) for job in record["jobs"]] == [
        ("cam.gamma=1", "done"),
        ("cam.gamma=2", "done"),
        ("cam.gamma=-1", "failed"),
    ]
    assert record["jobs"][2]["reason"] == "cam.gamma=-1.0: expected more than 0"
    assert "Traceback" not in printed
    assert printed.count("classifier: done in") == printed.count("maps: done in") == 1
    assert printed.count("maps: taken from") == 1
    assert "cam.gamma=-1: failed: cam.gamma=-1.0: expected more than 0" in printed
    assert (tmp_path / "sweep" / "runs.csv").exists()
    assert run_script(monkeypatch, *command) == 1
    assert "done in" not in capsys.readouterr().out  # all that had ended is kept


@pytest.mark.parametrize(
    ("launcher", "epochs", "states"), [("joblib", "1,0", ["done", "failed"]), ("submitit_local", "0", ["failed"])]
)
def test_jobs_run_in_processes_of_their_own(tmp_path: Path, launcher: str, epochs: str, states: list[str]) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    where = f"hydra.launcher.submitit_folder={tmp_path}/submitit"
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else [where, "hydra.launcher.timeout_min=10"]
    command = [sys.executable, SCRIPT, "-m", f"hydra/launcher={launcher}", *options, *TINY, "until=classifier"]
    command += [f"classifier.epochs={epochs}", f"outputs={tmp_path}", "run=sweep", "trainer.threads=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "failed: classifier.epochs=0: expected at least 1" in result.stdout
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [job["state"] for job in record["jobs"]] == states


def test_a_search_tries_settings_and_prunes_by_the_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    search = ["hparams_search=masks", "hydra.sweeper.search.prune=true", "hydra.sweeper.search.unpruned=2"]
    command = ["-m", *search, *TINY, "until=masks", f"outputs={tmp_path}", "run=search", "masks.jobs=1"]
    command += ["cam.scales=[0.5],[1],[2]", "masks.crf.bilateral_compat=10", "masks.crf.bilateral_sxy=50"]
    assert run_script(monkeypatch, *command, "hydra.sweeper.search.trials=3") == 0
    assert run_script(monkeypatch, *command, "hydra.sweeper.search.trials=8") == 0
    printed = capsys.readouterr().out
    assert "best masks/miou of 8 trials" in printed
    assert printed.count("classifier: done in") == 1
    jobs = json.loads((tmp_path / "search" / "sweep.json").read_text())["jobs"]
    assert all(job["state"] == "done" for job in jobs)
    assert any(job["reason"] == "pruned" for job in jobs) == ("pruned, seeds" in printed)
    crf = [job["run"] for job in jobs if "cam.scales" in job["run"]]
    assert len({*crf}) == len(crf) == 8  # the second start has drawn others than the first
    finished = [job for job in jobs if (tmp_path / "search" / job["run"] / "masks").exists()]
    assert 2 <= len(finished) <= len(jobs)


def test_a_search_without_truth_or_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    monkeypatch.setattr("wsss.pipeline.cli._fail", lambda console, *lines: errors.extend(lines))
    source, root = REPOSITORY / "data" / "mini_voc", tmp_path / "no_truth"
    root.mkdir()
    for name in ("JPEGImages", "Annotations", "ImageSets", "classes.txt"):
        (root / name).symlink_to(source / name)
    common = ["-m", "hparams_search=recam", *TINY, f"outputs={tmp_path}", f"data.root={root}"]
    run_script(monkeypatch, *common)
    assert "no true masks" in errors[0]
    data = f"data.root={source}"
    run_script(monkeypatch, *common, data, "until=seeds")
    assert "objective=masks/miou: until=seeds ends before it" in errors[1]
    assert not list(tmp_path.glob("*/*/*.pt"))


def test_where_to_search_is_written_in_hydras_grammar() -> None:
    pytest.importorskip("optuna")
    given = ["a=tag(log,interval(0.1,2.0))", "b=range(1,9,2)", "c=[stage5],[stage4,stage5]", "d=interval(2,5)"]
    log, whole, choice, plain = map(distribution, parse(*given))
    assert (log.low, log.high, log.log) == (0.1, 2.0, True)
    assert (whole.low, whole.high, whole.step) == (1, 7, 2)
    assert choice.choices == ("[stage5]", "[stage4,stage5]")
    assert (plain.low, plain.high, plain.log) == (2, 5, False)
    with pytest.raises(InputError, match=r"a=interval\(3"):
        distribution(*parse("a=interval(3.0,1.0)"))


def test_a_sweep_by_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    monkeypatch.setattr("wsss.pipeline.cli._fail", lambda console, *lines: errors.extend(lines))
    monkeypatch.setattr("wsss.pipeline.cli.place", lambda: Place(rank=0, world=2))
    run_script(monkeypatch, "-m", *TINY, "seed=0,1")
    assert "a sweep is started by one process" in errors[0]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("trials=0", "trials=0: expected 1 or more"),
        ("objective=seeds/nonsense", "objective=seeds/nonsense: trials have no such figure; they have .*seeds/miou"),
    ],
)
def test_a_search_that_can_find_nothing_is_refused(
    option: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    errors: list[str] = []
    monkeypatch.setattr("wsss.pipeline.cli._fail", lambda console, *lines: errors.extend(lines))
    search = ["-m", "hparams_search=masks", f"hydra.sweeper.search.{option}", "cam.scales=[0.5],[1]"]
    run_script(monkeypatch, *search, *TINY, "until=seeds", f"outputs={tmp_path}", "run=search", "masks.jobs=1")
    assert re.search(message, errors[0])


def test_two_searches_of_one_name_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    errors: list[str] = []
    monkeypatch.setattr("wsss.pipeline.cli._fail", lambda console, *lines: errors.extend(lines))
    (tmp_path / "search").mkdir()
    command = ["-m", "hparams_search=masks", "cam.scales=[0.5],[1]", *TINY, f"outputs={tmp_path}", "run=search"]
    with FileLock(tmp_path / "search" / "search.lock"):
        run_script(monkeypatch, *command, "until=masks")
    assert "another process searches here" in errors[0]


def test_an_interrupted_trial_is_taken_up_and_counts_once(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study()
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    study.tell(study.ask(space), 1.0)
    study.tell(study.ask(space), state=optuna.trial.TrialState.FAIL)  # by its own fault
    lost = study.ask(space)
    study.tell(lost, state=optuna.trial.TrialState.FAIL)
    study.enqueue_trial(lost.params, user_attrs={RESUMED: lost.number})
    assert [trial.number for trial in _ended(study)] == [0, 1]
    study.tell(study.ask(space), 2.0)
    assert [trial.number for trial in _ended(study)] == [0, 1, 3]
