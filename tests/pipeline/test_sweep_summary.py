"""What a sweep's folder says, as tables, a page and lines."""

import csv
import json
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.pipeline.conftest import REPOSITORY
from tests.sweeps import write_run, write_sweep_folder
from wsss.errors import InputError
from wsss.pipeline import cli  # noqa: F401  (registers the schema)
from wsss.pipeline.sweep_record import Job, announce, gather
from wsss.pipeline.sweep_summary import _hydra_text, print_sweep, read_sweep, summarize_sweep, write_sweep
from wsss.report.sweep_tables import runs_csv, runs_table

COMMON = "run: {}\ntrainer: {{threads: {}}}\nseed: 0\ncam: {{seed: [{}], stages: [stage4, stage5]}}\nrecam: {{lr: {}}}"


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A summarised sweep of 3 λ × 2 stages × 3 random seeds, one job failed, one cut short; its means."""
    folder = tmp_path_factory.mktemp("outputs") / "a<b>&c"
    means = write_sweep_folder(folder, first="<script>alert(1)")
    (folder / "0_1" / "report").mkdir()
    (folder / "0_1" / "report" / "index.html").write_text("")
    assert summarize_sweep(folder) == folder / "index.html"
    return folder, means


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs that differ in two options and in what has been scored."""
    first = write_run(
        tmp_path / "a", COMMON.format("a", 1, "cam", 1), {"seeds/miou": 40.25}, {"seeds/miou": {"threshold": 0.41}}
    )
    second = write_run(
        tmp_path / "b", COMMON.format("b", 2, "grad_cam", 2), {"seeds/miou": 39.0, "masks/miou": 50.0}, {}
    )
    return [first, second]


def test_every_run_has_a_row_with_its_options_figures_and_fate(sweep: tuple[Path, dict[str, float]]) -> None:
    rows = read(sweep[0] / "runs.csv")
    assert len(rows) == 20
    first, *_, failed, cut = rows
    assert (first["run"], first["recam.sce_weight"], first["seed"]) == ("<script>alert(1)", "0.1", "0")
    assert (first["seeds/miou at"], first["seconds"], first["state"]) == ("0.4", "60.0", "done")
    assert (failed["state"], failed["reason"]) == ("failed", "recam.sce_weight=-1: expected ≥ 0")
    assert (cut["state"], cut["reason"], cut["seeds/miou"]) == ("unfinished", "interrupted", "")
    assert "time/seeds_s" not in first  # it was NaN everywhere


def test_settings_have_their_means_and_tests(sweep: tuple[Path, dict[str, float]]) -> None:
    folder, means = sweep
    rows = [row for row in read(folder / "summary.csv") if row["figure"] == "seeds/miou"]
    assert [float(row["mean"]) for row in rows] == pytest.approx(list(means.values()))
    assert all((row["n"], row["values"].count(":")) == ("3", 3) for row in rows)
    content = json.loads((folder / "summary.json").read_text())
    assert content["headline"] == "seeds/miou"
    assert content["control"].startswith("recam.sce_weight 0.1, cam.stages 5, the first")
    settings = content["settings"]
    assert settings[0]["control"] is None
    difference = settings[1]["figures"]["seeds/miou"]["difference"]
    assert difference["mean"] == pytest.approx(means["0.1 [stage4,stage5]"] - means["0.1 [stage5]"])
    assert difference["p"] <= difference["p_holm"] <= 1
    assert [entry["state"] for entry in content["left_out"]] == ["failed", "unfinished"]


def test_the_setting_of_the_experiment_is_the_control(tmp_path: Path) -> None:
    write_sweep_folder(tmp_path / "s", seeds=[0])
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    for job in record["jobs"]:  # 3–5 is the default of stages, 1 that of λ
        job["overrides"] = [o.replace("[stage4,stage5]", "[stage3,stage4,stage5]") for o in job["overrides"]]
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(record))
    said = read_sweep([tmp_path / "s"]).comparison.control
    assert said == "recam.sce_weight 1, cam.stages 3–5, as the experiment has it"
    with initialize_config_dir(version_base="1.3", config_dir=str(REPOSITORY / "conf")):  # as at a multirun's end
        assert read_sweep([tmp_path / "s"]).comparison.control == said
    named = read_sweep([tmp_path / "s"], control=["recam.sce_weight=0.1"]).comparison
    assert [setting.control for setting in named.settings] == [None, None, 0, 1, 0, 1]
    with pytest.raises(InputError, match=r"nonsense: expected <option>=<value>"):
        read_sweep([tmp_path / "s"], control=["nonsense"])


def test_the_page_escapes_names_and_shows_all_there_is(sweep: tuple[Path, dict[str, float]]) -> None:
    folder, means = sweep
    page = (folder / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<h1>a&lt;b&gt;&amp;c</h1>" in page
    assert "&#39;a&lt;b&#39;" in page  # the command
    assert 'href="0_1/report/index.html"' in page
    assert "http" not in page
    assert "Seeds, default seed, oracle" in page
    assert page.count("<svg") == 4  # heat map and lines of two figures
    assert "failed, recam.sce_weight=-1: expected ≥ 0" in page
    assert "flatters the winner" in page
    for mean in means.values():
        assert f"{mean:.1f} ± " in page
    assert {path.name for path in folder.glob("*.png")} == {"heat_map.png", "over_recam.sce_weight.png"}


def test_the_terminal_shows_the_winner_the_failures_and_a_command(
    sweep: tuple[Path, dict[str, float]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder, means = sweep
    print_sweep(read_sweep([folder]))
    lines = capsys.readouterr().out.splitlines()
    best = max(means, key=lambda name: means[name])
    weight, stages = best.split()
    assert lines[-1] == (
        f"python scripts/run_pipeline.py experiment=demo recam.sce_weight={weight} 'cam.stages={stages}' "
        + shlex.quote("run='a<b>&c_best'")
    )
    assert sum(line.startswith("left out: ") for line in lines) == 2
    assert any(line.startswith("Best by seeds/miou") for line in lines)
    assert any(line.startswith(f"{weight} ") and f"{means[best]:.1f} ± " in line for line in lines)


def test_one_seed_has_neither_intervals_nor_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep_folder(tmp_path / "s", seeds=[0])
    page = summarize_sweep(tmp_path / "s").read_text()
    assert "one random seed, no test" in page
    assert "p (Holm)" not in page
    assert "±" not in capsys.readouterr().out
    (row, *_) = read(tmp_path / "s" / "summary.csv")
    assert (row["n"], row["std"], row["low"], row["difference_p"]) == ("1", "", "", "")


def test_a_sweep_without_figures_lists_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [{"run": "0", "overrides": ["seed=0"], "state": "done", "reason": None, "seconds": 1.0}]
    (tmp_path / "sweep.json").write_text(json.dumps({"command": "", "overrides": [], "jobs": jobs}))
    assert "0 (seed 0): unfinished, no config.yaml" in summarize_sweep(tmp_path).read_text()
    assert "nothing to choose by" in capsys.readouterr().out


def test_damage_leaves_a_run_out(tmp_path: Path) -> None:
    write_sweep_folder(tmp_path / "s", seeds=[0, 1])
    (tmp_path / "s" / "0_1" / "results.json").write_text("{")
    (tmp_path / "s" / "1_0" / "config.yaml").write_text("[")
    shutil.rmtree(tmp_path / "s" / "1_1")
    comparison = read_sweep([tmp_path / "s"]).comparison
    reasons = [(run.reason or "").split(" (")[0] for run in comparison.left_out[:3]]
    assert reasons == ["results.json cannot be read", "config.yaml cannot be read", "no config.yaml"]
    assert [len(setting.runs) for setting in comparison.settings] == [1, 2, 2, 2, 2]
    (tmp_path / "s" / "sweep.json").write_text("{}")
    with pytest.raises(InputError, match=r"sweep\.json: not a readable record"):
        read_sweep([tmp_path / "s"])


def test_any_runs_are_compared_by_the_options_that_differ(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = read_sweep(runs)
    header, rows = runs_csv(summary.comparison)
    assert header[:3] == ["run", "cam.seed", "recam.lr"]
    assert [row[header.index("seeds/miou")] for row in rows] == [40.25, 39.0]
    table = runs_table(summary.comparison, ["seeds/miou", "masks/miou", "segmenter/val_miou"])
    assert table.rows == [["a", "cam", "1", "40.2", "0.41", "–"], ["b", "grad_cam", "2", "39.0", "–", "50.0"]]
    print_sweep(summary, markdown=True)
    assert capsys.readouterr().out.splitlines()[2] == "| a | cam | 1 | 40.2 | 0.41 | – |"
    assert summary.best_command == "the runs' own command with 'cam.seed=[grad_cam]' recam.lr=2"
    assert read_sweep([tmp_path]).comparison == summary.comparison  # the folder of these runs
    assert "grad_cam" in write_sweep(tmp_path / "new", summary).read_text()


def test_what_is_not_a_run_is_named(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no runs"):
        read_sweep([])
    with pytest.raises(InputError, match=r"stray: not a run with figures \(no config\.yaml\)"):
        read_sweep([tmp_path / "stray"])
    (left,) = read_sweep([*runs, tmp_path / "stray"]).comparison.left_out
    assert left.name == "stray"


@pytest.mark.parametrize("value", [["stage4", "stage5"], "it's", "a b", 0.5, None, True, "data/x.csv", [0.5, 1], "1"])
def test_values_are_written_as_hydra_reads_them(value: object) -> None:
    assert OverridesParser.create().parse_override(f"x={_hydra_text(value)}").value() == value


def test_the_script_writes_a_sweeps_page_and_names_a_control_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = tmp_path / "lambda", tmp_path / "table.csv"
    write_sweep_folder(folder)

    def call(*arguments: str) -> None:
        monkeypatch.setattr("sys.argv", ["summarize.py", str(folder), *arguments])
        runpy.run_path(str(REPOSITORY / "scripts" / "summarize.py"), run_name="__main__")

    call("--control", "recam.sce_weight=1", "--csv", str(table), "--figures", "seeds/miou")
    shown = capsys.readouterr().out
    assert "Control: recam.sce_weight 1." in shown
    assert "oracle" not in shown
    assert table.read_bytes() == (folder / "runs.csv").read_bytes()
    assert (folder / "index.html").is_file()
    with pytest.raises(SystemExit, match="2"):
        call("--control", "recam.sce_weight=7")
    assert capsys.readouterr().err == "error: control recam.sce_weight 7: no finished run has it\n"
    for wrong, told in (
        (("--figures", "nonsense"), "--figures nonsense: no run has it; there are seeds/miou, seeds/oracle_miou"),
        (("--csv", "/"), "the tables cannot be written"),
        (("--out", f"{table}/x"), "the tables cannot be written"),
    ):
        with pytest.raises(SystemExit, match="2"):
            call(*wrong)
        assert capsys.readouterr().err.startswith(f"error: {told}")


def test_a_jobs_own_file_knows_better_than_the_sweeps(tmp_path: Path) -> None:
    write_sweep_folder(tmp_path / "s")
    record = json.loads((tmp_path / "s" / "sweep.json").read_text())
    for job in record["jobs"]:
        job |= {"state": "unfinished", "reason": "interrupted"}
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(record))
    with_file = tmp_path / "s" / "1_1" / "job.json"
    with_file.write_text(json.dumps({"state": "done", "reason": None, "seconds": 7.0}))
    comparison = read_sweep([tmp_path / "s"]).comparison
    assert [len(setting.runs) for setting in comparison.settings] == [1]
    assert all(
        run.reason == "interrupted" for run in comparison.left_out if (tmp_path / "s" / run.folder.name).exists()
    )


def test_jobs_of_an_earlier_command_stay_in_the_sweeps_record(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / name, (f"seed={name}",)) for name in ("0", "1", "2")]
    for job in jobs:
        announce(job)
    gather(tmp_path, ["seed=0,1"], jobs[:2])
    gather(tmp_path, ["seed=2"], jobs[2:])
    assert [job["run"] for job in json.loads((tmp_path / "sweep.json").read_text())["jobs"]] == ["0", "1", "2"]
    shutil.rmtree(tmp_path / "0")
    gather(tmp_path, ["seed=2"], jobs[2:])
    assert [job["run"] for job in json.loads((tmp_path / "sweep.json").read_text())["jobs"]] == ["1", "2"]
