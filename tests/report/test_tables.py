import io
import math

import pytest
from rich.console import Console

from tests.report.conftest import RESULTS, SEEDS_PROTOCOL
from wsss.report.tables import result_groups, results_table, stamp, with_sign

SEEDS_STAMP = "mini_voc train · 600 images · threshold 0.42 (mean Otsu, no truth) · scales 0.5,1,1.5 + flip · no CRF"


def rendered(results: dict[str, float], protocols: dict[str, dict[str, object]]) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(results_table(results, protocols))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_stamp_is_one_line_in_a_fixed_order() -> None:
    assert stamp(SEEDS_PROTOCOL) == SEEDS_STAMP
    assert stamp(dict(reversed(SEEDS_PROTOCOL.items()))) == SEEDS_STAMP


@pytest.mark.parametrize(
    ("protocol", "text"),
    [
        ({}, ""),
        ({"split": "val", "threshold": 0.3, "threshold_from": "oracle (best on this truth)"},
         "val · threshold 0.30 (oracle, best on this truth)"),
        ({"threshold": 0.1234, "scales": [1.0], "flip": False}, "threshold 0.1234 · scale 1"),
        ({"crf": "10 it"}, "CRF 10 it"),
        ({"crf": "CRF on marginals"}, "CRF on marginals"),
        ({"threshold_from": "local"}, "threshold: local"),
        ({"flip": True, "maps": "cam + recam", "ema": False, "walk_steps": 8, "note": None},
         "flip · maps cam + recam · no ema · walk steps 8"),
    ],
)  # fmt: skip
def test_stamps_of_other_protocols(protocol: dict[str, object], text: str) -> None:
    assert stamp(protocol) == text


def test_figures_are_grouped_and_named() -> None:
    groups = result_groups(RESULTS | {"extra/loss": 0.25, "seeds/broken/miou": math.nan}, {})
    assert {group.title: [(row.figure, row.value) for row in group.rows] for group in groups} == {
        "classifier": [("val mAP", "93.4"), ("ReCAM head, val mAP", "92.0")],
        "seeds": [("default seed", "52.1"), ("default seed, oracle", "54.8"), ("CAM, oracle", "46.2")],
        "pseudo-masks": [("pseudo-masks", "61.2"), ("coverage", "90.0 %")],
        "segmenter": [
            ("segmenter, val", "60.0"),
            ("twin trained on truth, val", "75.0"),
            ("share of the twin", "80.0 %"),
        ],
        "time": [("seeds", "25.3 s"), ("segmenter", "3 min 41 s"), ("total", "4 min 06 s")],
        "other": [("extra/loss", "0.25")],
    }


def test_what_protocols_share_stands_in_the_heading() -> None:
    oracle = SEEDS_PROTOCOL | {"threshold": 0.36, "threshold_from": "oracle"}
    group = result_groups(
        {"seeds/miou": 50.0, "seeds/oracle_miou": 51.0}, {"seeds/miou": SEEDS_PROTOCOL, "seeds/oracle_miou": oracle}
    )[0]
    assert group.common == "mini_voc train · 600 images · scales 0.5,1,1.5 + flip · no CRF"
    assert [row.protocol for row in group.rows] == ["threshold 0.42 (mean Otsu, no truth)", "threshold 0.36 (oracle)"]


def test_the_terminal_table_breaks_stamps_between_their_parts() -> None:
    lines = [line.strip() for line in rendered(RESULTS, {"seeds/miou": SEEDS_PROTOCOL}).splitlines()]
    start = next(n for n, line in enumerate(lines) if line.startswith("default seed "))
    assert lines[start].endswith("mini_voc train · 600 images")
    assert lines[start + 1] == "threshold 0.42 (mean Otsu, no truth)"
    assert lines[start + 2] == "scales 0.5,1,1.5 + flip · no CRF"


def test_names_are_no_markup() -> None:
    assert "[red]x" in rendered({"[red]x": 1.0}, {"[red]x": {"data": "[bold]"}})


def test_nothing_gives_an_empty_table() -> None:
    assert result_groups({}, {}) == []
    assert "figure" in rendered({}, {})


def test_times_stand_in_the_order_of_the_steps() -> None:
    steps = ["classifier", "recam", "seeds", "masks", "segmenter", "relabel_round1", "segmenter_round1"]
    steps += ["segmenter_supervised", "report"]
    (group,) = result_groups({f"time/{step}_s": 1.0 for step in sorted(steps)}, {})
    assert [row.figure.replace(" ", "_") for row in group.rows] == [*steps, "total"]


@pytest.mark.parametrize(("value", "text"), [(-0.04, "+0.0"), (-0.06, "−0.1"), (0.0, "+0.0"), (1.26, "+1.3")])
def test_what_is_rounded_to_nothing_is_not_negative(value: float, text: str) -> None:
    assert with_sign(value, f"{abs(value):.1f}") == text
