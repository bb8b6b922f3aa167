"""Sweeps over stages or fusion get one export of maps."""

import logging
import sys

import hydra
import pytest
from hydra.errors import HydraException

from tests.pipeline.conftest import compose_config
from wsss.pipeline.cli import script
from wsss.pipeline.sweep_stages import share_stages

SWEEP = ["-m", "recam.sce_weight=0.1,1", "cam.stages=[stage5],[stage3,'stage5']", "seed=0,1"]


@pytest.mark.parametrize(
    ("swept", "drawn"),
    [
        ("cam.stages=[stage5],[stage3,stage4]", "[stage3,stage4,stage5]"),
        ("cam.stages=choice([stage5], [stage1, 'stage5'])", "[stage1,stage5]"),
        ("++cam.stages=[stage4],[stage2]", "[stage2,stage4]"),
        ("cam.stages=[stage4],[stage5],[stage9]", "[stage4,stage5]"),
        ("fusion=max,mean", "${cam.stages}"),
        ("fusion=glob(*)", "${cam.stages}"),
        ("cam.gamma=range(1,4)", "${cam.stages}"),
        ("cam.tanh_stages=[],[stage3]", "${cam.stages}"),
        ("cam.stage_weights=[1,1,1],[1,2,3]", "${cam.stages}"),
    ],
)
def test_what_any_job_fuses_is_drawn_for_all(swept: str, drawn: str) -> None:
    for flag in ("-m", "--multirun"):
        arguments = ["experiment=smoke", flag, "seed=0,1", swept]
        assert share_stages(arguments) == [*arguments, f"cam.drawn_stages={drawn}"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["cam.stages=[stage5]"],
        ["-m", "seed=0,1", "cam.stages=[stage4,stage5]", "fusion=max"],
        ["-m", "cam.stages=[stage5],[stage4]", "cam.drawn_stages=[stage1,stage4,stage5]"],
        ["-m", "cam.stages=null,[stage4]"],
        ["--help"],
    ],
)
def test_other_command_lines_stay_as_they_are(arguments: list[str]) -> None:
    assert share_stages(arguments) == arguments


def test_the_log_says_what_was_added(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    share_stages([*SWEEP, "fusion=max,mean"])
    assert "sweep over cam.stages and fusion: cam.drawn_stages=[stage3,stage5] added" in caplog.text


def test_a_malformed_option_is_refused_as_hydra_would() -> None:
    with pytest.raises(HydraException, match="mismatched input"):
        share_stages(["-m", "cam.stages=[stage5],[stage4"])


def test_a_fusion_sweep_draws_the_stages_that_the_options_have() -> None:
    config = compose_config("experiment=demo", "cam.stages=[stage4,stage5]", "cam.drawn_stages=${cam.stages}")
    assert config.cam.drawn_stages == ["stage4", "stage5"]


@pytest.mark.parametrize(("group", "added"), [("", ["cam.drawn_stages=[stage3,stage5]"]), ("explain", [])])
def test_scripts_of_runs_pass_it_on_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch, group: str, added: list[str]
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(hydra, "main", lambda **_: lambda job: lambda: seen.extend(sys.argv[1:]))
    monkeypatch.setattr(sys, "argv", ["run_pipeline.py", *SWEEP])

    def work(options: object) -> None: ...

    work.__module__ = "wsss.seeds"  # as deep in the repository as a script, which finds conf from where it lies
    script(group)(work)()
    assert seen == [*SWEEP, *added]
