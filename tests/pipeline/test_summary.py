"""Runs side by side."""

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from wsss.errors import InputError
from wsss.pipeline.summary import summarize, summary_markdown, summary_table, write_summary


def write_run(folder: Path, config: str, results: dict[str, float], protocols: dict[str, object]) -> Path:
    """What a run leaves for the summary."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "protocols.json").write_text(json.dumps(protocols))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs that differ in two options and in what has been scored."""
    common = (
        "run: {}\ntrainer: {{threads: {}}}\nseed: 0\ncam: {{seed: [{}], stages: [stage4, stage5]}}\nrecam: {{lr: {}}}"
    )
    first = write_run(
        tmp_path / "a", common.format("a", 1, "cam", 1), {"seeds/miou": 40.25}, {"seeds/miou": {"threshold": 0.41}}
    )
    second = write_run(
        tmp_path / "b", common.format("b", 2, "grad_cam", 2), {"seeds/miou": 39.0, "masks/miou": 50.0}, {}
    )
    return [first, second]


def test_rows_show_the_options_that_differ_and_the_figures(runs: list[Path], tmp_path: Path) -> None:
    rows = summarize(runs)
    assert rows == [
        {
            "run": "a",
            "cam.seed": ["cam"],
            "recam.lr": 1,
            "seeds/miou": 40.25,
            "seeds/miou at": 0.41,
            "masks/miou": None,
        },
        {
            "run": "b",
            "cam.seed": ["grad_cam"],
            "recam.lr": 2,
            "seeds/miou": 39.0,
            "seeds/miou at": None,
            "masks/miou": 50.0,
        },
    ]
    write_summary(tmp_path / "new" / "table.csv", rows)
    with (tmp_path / "new" / "table.csv").open() as file:
        assert [row["seeds/miou"] for row in csv.DictReader(file)] == ["40.25", "39.0"]
    markdown = summary_markdown(rows).splitlines()
    assert markdown[2] == "| a | cam | 1 | 40.2 | 0.41 | – |"
    console = Console(width=120, record=True)
    console.print(summary_table(rows))
    assert "grad_cam" in console.export_text()


def test_what_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no runs"):
        summarize([])
    with pytest.raises(InputError, match=r"stray: not a run with figures \(no config\.yaml\)"):
        summarize([tmp_path / "stray"])
