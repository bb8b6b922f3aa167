"""Runs as settings, their controls and tests."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweeps import STAGES, swept_runs
from wsss.errors import InputError
from wsss.report.comparison import (
    SweptRun,
    compare,
    control_differences,
    kind_tests,
    option_text,
    short_names,
    swept_options,
)


def test_runs_that_differ_in_their_seed_alone_are_one_setting() -> None:
    runs = swept_runs({"recam.sce_weight": [2, 0.1], "cam.stages": STAGES[:2], "same": ["x"]}, [0, 1, 2])
    comparison = compare(runs)
    assert comparison.names == ["recam.sce_weight", "cam.stages"]
    assert [(s.options["recam.sce_weight"], len(s.options["cam.stages"])) for s in comparison.settings] == [
        *((0.1, 1), (0.1, 2), (2, 1), (2, 2))
    ]
    assert all([run.seed for run in setting.runs] == [0, 1, 2] for setting in comparison.settings)
    assert comparison.best is comparison.settings[1]  # the last of the product


def test_a_seed_that_comes_twice_counts_once() -> None:
    runs = swept_runs({"a": [1, 2]}, [0])
    again = replace(runs[0], folder=Path("again"), options={"a": 1.0})
    comparison = compare([*runs, again])
    assert [len(setting.runs) for setting in comparison.settings] == [1, 1]
    (left,) = comparison.left_out
    assert (left.name, left.state, left.reason) == ("again", "repeated", "same options and random seed as 0_0")


def test_the_latest_figure_of_the_chain_judges_and_missing_ones_lower_n() -> None:
    runs = swept_runs({"a": [1, 2]}, [0, 1, 2])
    runs[0] = replace(runs[0], figures={"seeds/miou": 1.0, "masks/miou": 9.0})
    runs[4] = replace(runs[4], figures={})
    comparison = compare(runs)
    assert comparison.headline == "masks/miou"
    assert comparison.best is comparison.settings[0]
    assert [s.spread("seeds/miou").n for s in comparison.settings] == [3, 2]
    assert comparison.settings[1].spread("masks/miou") is None
    _, tested = control_differences(comparison, "seeds/miou")
    assert tested.difference.n == 2


def test_the_control_is_the_one_named_else_the_defaults_else_the_first() -> None:
    runs = swept_runs({"a": [1, 2, 3]}, [0, 1])
    for comparison, place, said in (
        (compare(runs, control={"a": 2.0}, defaults={"a": 3}), 1, "a 2"),
        (compare(runs, defaults={"a": 3}), 2, "a 3, as the experiment has it"),
        (compare(runs, defaults={"a": 4}), 0, "a 1, the first setting"),
    ):
        assert [s.control for s in comparison.settings] == [None if i == place else place for i in range(3)]
        assert comparison.control.startswith(said)


def test_a_control_that_leaves_options_open_compares_like_with_like() -> None:
    comparison = compare(swept_runs({"a": [0, 1], "b": ["x", "y"]}, [0, 1, 2]), control={"a": 0})
    assert [s.control for s in comparison.settings] == [None, None, 0, 1]
    tested = control_differences(comparison, "seeds/miou")
    assert [t and round(t.difference.mean) for t in tested] == [None, None, 20, 20]


@pytest.mark.parametrize(
    ("control", "message"), [({"a": 9}, "control a 9: no finished run has it"), ({"c": 1}, "c does not differ.*a does")]
)
def test_a_control_that_no_run_has_is_named(control: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(swept_runs({"a": [0, 1]}, [0]), control=control)


def test_p_values_are_corrected_for_the_settings_compared() -> None:
    comparison = compare(swept_runs({"a": [0, 1, 2]}, [0, 1, 2, 3]))
    _, first, second = control_differences(comparison, "seeds/miou")
    low, high = sorted([first, second], key=lambda tested: tested.difference.p)
    assert low.p_holm == pytest.approx(2 * low.difference.p)
    assert high.p_holm == pytest.approx(max(low.p_holm, high.difference.p))


def test_recam_is_compared_with_the_control_trained_beside_it() -> None:
    runs = [
        SweptRun(
            Path(str(seed)),
            seed=seed,
            options={},
            figures={
                "seeds/control/miou": 50.0 + seed,
                "seeds/recam/miou": 51.0 + seed * (1 + seed),
                "seeds/miou": 1.0,
            },
        )
        for seed in range(3)
    ]
    (test,) = kind_tests(compare(runs))
    assert (test.key, test.tested.difference.n) == ("seeds/recam/miou", 3)
    assert test.tested.difference.mean == pytest.approx(1 + 5 / 3)  # 1, 2, 5


def test_options_that_change_together_are_drawn_once() -> None:
    runs = swept_runs({"a": [1, 2, 3]}, [0])
    runs = [
        replace(run, options={**run.options, "b": f"b{run.options['a']}", "c": run.options["a"] > 1}) for run in runs
    ]
    assert swept_options(compare(runs)) == {"a": [1, 2, 3], "c": [False, True]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((["stage3", "stage4", "stage5"], "3–5"), (["stage3", "stage5"], "3, 5"), ("stage5", "5")),
        *(([], "none"), (None, "none"), (True, "true"), (0.50000001, "0.5"), (["cam", "recam"], "cam, recam")),
    ],
)
def test_values_are_short(value: object, text: str) -> None:
    assert option_text(value) == text


def test_groups_are_left_out_of_names_that_stay_apart() -> None:
    assert short_names(["recam.lr", "classifier.lr", "cam.stages"]) == ["recam.lr", "classifier.lr", "stages"]
