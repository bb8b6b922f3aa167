"""The page of results: rendered as counted by hand, measured by commands, and as it is committed."""

import json
import logging
import runpy
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from tests.pipeline.conftest import REPOSITORY
from tests.sweeps import write_run
from wsss.errors import InputError
from wsss.pipeline import cli  # noqa: F401  (registers the schema)
from wsss.pipeline import result_tables as module
from wsss.pipeline.config import Config
from wsss.pipeline.options import check_options
from wsss.pipeline.result_page import render_table, wrap, write_page
from wsss.pipeline.result_specs import read_spec, read_specs
from wsss.pipeline.result_tables import PLACEHOLDER, Values, make_tables, sources, table_numbers
from wsss.pipeline.sweep import combinations

TABLES = REPOSITORY / "benchmarks" / "results"
SPEC = """
title: Two weights
data: six pictures
minutes: 3
commands:
  - first.py -m run=weights recam.sce_weight=1,2 seed=0,1 outputs={outputs}
  - second.py "run=maps it's" outputs={outputs}
seeds: [0, 1]
run: weights/{weight}_{seed}
head: λ
rows:
  - {label: one, values: {weight: "1"}, without: [boxes]}
  - {label: two, values: {weight: "2"}}
columns:
  - {label: seeds, figure: seeds/miou}
  - {label: boxes, figure: localization/train/cam/gt_known, format: .2f}
against:
  - {label: against one, column: seeds, row: one}
  - {label: over boxes, column: seeds, minus: boxes}
about: Percent.
says: >-
  Best is {{ best("seeds") }}, {{ cell("two", "seeds").mean | number(2) }}: {{ gain("one", "two", "seeds") | signed }},
  p {{ test("two", "against one").p | number(3) }}, as it is {{ paired("two", "one", "seeds") }};
  {{ paired("two", "two", "seeds", "boxes") }} over boxes{{ level("seeds") }}.
"""
FIGURES = {"1_0": 60, "1_1": 62, "2_0": 63, "2_1": 64}
RENDERED = """\
## Two weights

six pictures; random seeds 0, 1. The steps took 3 min 48 s on some CPU, 2 cores, 1 thread.

    python first.py -m run=weights recam.sce_weight=1,2 seed=0,1
    python second.py "run=maps it's"

Percent.

| λ | seeds | boxes | against one | p | over boxes | p |
|---|---|---|---|---|---|---|
| one | 61.0 ± 1.4 | – | – | – | – | – |
| two | 63.5 ± 0.7 | 43.50 ± 0.71 | +2.5 | 0.126 | +20.0 | – |

Best is two, 63.50: −2.5, p 0.126, as it is +2.5 (p 0.126); +20.0 over boxes."""


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_weights(outputs: Path, names: list[str] | None = None) -> None:
    """Runs of two weights and seeds; the classifier of a seed is shared."""
    for name in names or [*FIGURES]:
        seed, miou = name[-1], FIGURES[name]
        folder = write_run(outputs / "weights" / name, f"seed: {seed}", {"seeds/miou": miou, "time/seeds_s": 7}, {})
        for step, fingerprint, seconds in (("classifier", seed, 100), ("seeds", name, 6.5)):
            manifest = {"step": step, "state": "done", "fingerprint": fingerprint, "seconds": seconds}
            manifest |= {"settings": {}, "inputs": {}, "figures": {}, "protocols": {}}
            write_json(folder / step / "manifest.json", manifest)
        scores = {"kinds": {"cam": {"gt_known": miou - 20, "pxap": None}}, "seconds": 1.0}
        write_json(folder / "localization" / "train" / "scores.json", scores if name[0] == "2" else {"kinds": {}})
        machine = {"machine": {"cpu": "some CPU", "cores": 2}, "gpus": [], "torch": {"threads": 1}}
        write_json(folder / "environment.json", machine)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with one description and a page."""
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "weights.yaml").write_text(SPEC)
    (folder / "page.md.j2").write_text('# Mine\n\n{{ table("weights") }}\n')
    return folder


class Commands:
    """Stands for `subprocess.run`: notes the commands, and does for each what it is told to."""

    def __init__(self, work: Callable[[list[str]], int]) -> None:
        self.work, self.seen = work, list[list[str]]()

    def run(self, argv: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.seen.append(argv[1:])
        return subprocess.CompletedProcess(argv, self.work(argv[1:]))


@pytest.fixture
def make(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Commands], list[str]]:
    """`make_tables` with commands that are not run."""

    def make_with(commands: Commands) -> list[str]:
        monkeypatch.setattr(module.subprocess, "run", commands.run)
        return make_tables(read_specs(tables), {"outputs": tmp_path / "out"}, tmp_path / "page", tmp_path)

    return make_with


def test_a_table_renders_as_counted_by_hand(
    make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path
) -> None:
    commands = Commands(lambda argv: write_weights(tmp_path / "out") or 0 if argv[0] == "first.py" else 0)
    assert make(commands) == []
    outputs = f"outputs={tmp_path / 'out'}"
    assert commands.seen == [
        ["first.py", "-m", "run=weights", "recam.sce_weight=1,2", "seed=0,1", outputs],
        ["second.py", "run=maps it's", outputs],
    ]
    shutil.rmtree(tmp_path / "out")  # the page needs the numbers alone
    write_page(tmp_path / "page.md", tables / "page.md.j2", read_specs(tables))
    assert (tmp_path / "page.md").read_text() == f"# Mine\n\n{RENDERED}\n"


def test_a_page_reads_figures_off_its_tables(
    make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path
) -> None:
    page = tables / "page.md.j2"

    def write(text: str) -> str:
        page.write_text(text)
        write_page(tmp_path / "page.md", page, read_specs(tables))
        return (tmp_path / "page.md").read_text()

    with pytest.raises(InputError, match=r"weights\.json: not readable.*measure weights again"):
        write('{{ of("weights").best("seeds") }}')
    write_weights(tmp_path / "out")
    assert make(Commands(lambda argv: 0)) == []
    assert write('{% set weights = of("weights") %}{{ weights.gain("two", "one", "seeds") | signed }}') == "+2.5\n"
    assert write('{{ of("weights").test("two", "against one").p | number(3) }}') == "0.126\n"
    for text, told in (
        ('{{ of("weight").best("seeds") }}', "no table is called weight; there are weights"),
        ('{{ of("weights").cell("three", "seeds") }}', r"page\.md\.j2: no table has 'three'"),
    ):
        with pytest.raises(InputError, match=told):
            write(text)


def test_a_page_lists_its_tables(make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path) -> None:
    title = "Two, λ's: a+b of ReCAM"
    (tables / "weights.yaml").write_text(SPEC.replace("title: Two weights", f'title: "{title}"'))
    (tables / "page.md.j2").write_text('{{ contents() }}\n\n{{ table("weights") }}')
    write_page(tmp_path / "page.md", tables / "page.md.j2", read_specs(tables))
    assert (tmp_path / "page.md").read_text().startswith(f"- [{title}](#two-λs-ab-of-recam)\n\n## {title}\n")


def test_rows_within_a_standard_deviation_of_the_best_are_named(
    make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path
) -> None:
    write_weights(tmp_path / "out")
    (tables / "page.md.j2").write_text('{{ of("weights").level("seeds") }}')
    for figures, named in (({}, ""), ({"1_0": 63, "1_1": 63.4}, " (within a standard deviation: one)")):
        for name, miou in figures.items():
            write_json(tmp_path / "out" / "weights" / name / "results.json", {"seeds/miou": miou})
        assert make(Commands(lambda argv: 0)) == []
        write_page(tmp_path / "page.md", tables / "page.md.j2", read_specs(tables))
        assert (tmp_path / "page.md").read_text().strip() == named.strip()


def test_paragraphs_and_items_are_wrapped_and_nothing_else() -> None:
    long, code = "word " * 40, "    " + "code " * 40
    text = wrap(f"## {long}\n\n{long}\n{long}\n\n- {long}\n- b\n\n{code}\n\n| {long} |\n")
    head, prose, items, kept, table = text.split("\n\n")
    assert (head, kept, table) == (f"## {long}", code, f"| {long} |")
    assert max(map(len, [*prose.split("\n"), *items.split("\n")])) <= 128
    assert prose.split() == ["word"] * 80
    assert items.split("\n")[1].startswith("  word")
    assert items.split("\n")[-1] == "- b"


def test_a_killed_start_goes_on_with_the_command_it_was_killed_in(
    make: Callable[[Commands], list[str]], tmp_path: Path
) -> None:
    def killed(argv: list[str]) -> int:
        if argv[0] == "second.py":
            raise KeyboardInterrupt
        write_weights(tmp_path / "out")
        return 0

    with pytest.raises(KeyboardInterrupt):
        make(Commands(killed))
    assert not (tmp_path / "page").exists()
    again = Commands(lambda argv: 0)
    assert make(again) == []
    assert [argv[0] for argv in again.seen] == ["second.py"]
    third = Commands(lambda argv: 0)
    assert make(third) == []
    assert third.seen == []


def test_missing_runs_are_named_and_made_at_the_next_start(
    make: Callable[[Commands], list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    failing = Commands(lambda argv: write_weights(out, ["1_0", "1_1", "2_1"]) or 1 if argv[0] == "first.py" else 0)
    failed, *missing = make(failing)
    assert failed.startswith("weights: status 1: python first.py -m run=weights")
    assert missing == [f"weights: {out}/weights/2_0: no run with figures"]
    assert not (tmp_path / "page").exists()
    (out / "weights" / "2_1" / "results.json").write_text("{}")
    lost = [f"weights: {out}/weights/2_1: no figure seeds/miou"]
    assert [line for line in make(Commands(lambda argv: 0)) if "2_1" in line] == lost
    shutil.rmtree(out / "weights")
    mending = Commands(lambda argv: write_weights(out) or 0 if argv[0] == "first.py" else 0)
    assert make(mending) == []
    assert len(mending.seen) == 2  # what had ended well was made again, for its runs might be what was lost
    assert (tmp_path / "page" / "weights.json").exists()


def test_runs_of_a_command_that_failed_make_no_table(make: Callable[[Commands], list[str]], tmp_path: Path) -> None:
    write_weights(tmp_path / "out")  # of another start, with other data
    assert make(Commands(lambda argv: 1 if argv[0] == "first.py" else 0))[0].startswith(
        "weights: status 1: python first"
    )
    assert not (tmp_path / "page").exists()
    assert make(Commands(lambda argv: 0)) == []
    assert (tmp_path / "page" / "weights.json").exists()


def test_a_note_is_kept_beside_the_figures(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path / "out")
    monkeypatch.setattr(module.subprocess, "run", Commands(lambda argv: 0).run)
    folders = {"outputs": tmp_path / "out"}
    make_tables(read_specs(tables), folders, tmp_path / "page", tmp_path, note="Beside other work.")
    text = render_table(read_spec(tables / "weights.yaml"), tmp_path / "page" / "weights.json")
    assert "1 thread. Beside other work.\n" in text


def test_a_table_without_its_data_is_skipped_and_keeps_its_text(
    make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_weights(tmp_path / "out")
    assert make(Commands(lambda argv: 0)) == []
    before = (tmp_path / "page" / "weights.json").read_bytes()
    (tables / "other.yaml").write_text(SPEC.replace("first.py -m", "first.py data.root={voc}").replace("Two", "Other"))
    caplog.set_level(logging.INFO)
    commands = Commands(lambda argv: 0)
    assert make(commands) == []
    assert commands.seen == []
    assert "other: skipped, its data was not given (--data voc=<folder>)" in caplog.text
    assert (tmp_path / "page" / "weights.json").read_bytes() == before
    unmeasured = render_table(read_spec(tables / "other.yaml"), tmp_path / "page" / "other.json")
    assert "Not measured yet; thought to take 3 core-minutes." in unmeasured
    assert "data.root=<voc> run=weights" in unmeasured
    assert "| λ |" not in unmeasured


def test_numbers_of_other_commands_are_not_shown(
    make: Callable[[Commands], list[str]], tables: Path, tmp_path: Path
) -> None:
    write_weights(tmp_path / "out")
    make(Commands(lambda argv: 0))
    numbers = tmp_path / "page" / "weights.json"
    for old, new, told in (
        ("seed=0,1", "seed=0,1 cam=cam", "other commands than the table has now; measure weights again"),
        ("seeds: [0, 1]", "seeds: [0, 1, 2]", "other commands"),
        ("label: two", "label: three", "nothing of 'three'; measure weights again"),
        ('best("seeds")', 'best("seed")', "weights"),
        ('best("seeds")', 'worst("seeds")', "'worst' is undefined"),
    ):
        (tables / "weights.yaml").write_text(SPEC.replace(old, new))
        with pytest.raises(InputError, match=told):
            render_table(read_spec(tables / "weights.yaml"), numbers)
    numbers.write_text("<<<<<<< HEAD")
    with pytest.raises(InputError, match=r"weights\.json: not readable"):
        render_table(read_spec(tables / "weights.yaml"), numbers)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("head: λ", "heads: λ", "heads"),
        ("minutes: 3", "minutes: long", "long"),
        ("label: two", "label: one", "two are called one"),
        ("row: one", "row: three", "nothing is called three; there are one, two"),
        ("without: [boxes]", "without: [box]", "nothing is called box"),
        (", row: one", "", "against against one: name its control"),
        ("title: Two weights", "", "title"),
        ("head: λ", "head: [", "weights.yaml"),
    ],
)
def test_a_description_at_fault_is_refused_by_name(tables: Path, old: str, new: str, told: str) -> None:
    (tables / "weights.yaml").write_text(SPEC.replace(old, new))
    with pytest.raises(InputError, match=told):
        read_specs(tables)


def test_a_name_that_nothing_stands_for_is_told(tables: Path, tmp_path: Path) -> None:
    (tables / "weights.yaml").write_text(SPEC.replace("run: weights/{weight}", "run: weights/{wait}"))
    with pytest.raises(InputError, match="row one, column seeds: no value for 'wait'"):
        sources(read_spec(tables / "weights.yaml"), tmp_path)


def test_a_real_command_is_run_and_its_runs_are_read(tables: Path, tmp_path: Path) -> None:
    command = (
        "scripts/train_cls.py experiment=smoke run=tiny recam=none logger=none classifier.augment.crop=32 "
        "limit_images=4 classifier.batch_size=4 backbone=resnet18 backbone.weights=none trainer=cpu "
        "trainer.num_workers=0 trainer.threads=1 outputs={outputs}"
    )
    spec = {
        **{"title": "Tiny", "data": "mini_voc", "minutes": 0.1, "commands": [command], "seeds": [0]},
        **{"run": "tiny", "rows": [{"label": "classifier"}]},
        "columns": [{"label": "seconds", "figure": "time/classifier_s"}],
    }
    OmegaConf.save(spec, tables / "weights.yaml")
    specs = read_specs(tables)
    assert make_tables(specs, {"outputs": tmp_path / "out"}, tmp_path / "page", REPOSITORY) == []
    numbers = json.loads((tmp_path / "page" / "weights.json").read_text())
    seconds = numbers["cells"]["classifier"]["seconds"]["values"]
    assert seconds == [numbers["seconds"]]
    assert seconds[0] > 0
    assert ", 1 thread" in numbers["machine"]


def test_the_committed_page_is_what_its_numbers_render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = REPOSITORY / "docs" / "results.md"
    shutil.copytree(page.with_suffix(""), tmp_path / "results")
    options = ["--render", "--page", str(tmp_path / "results.md")]
    monkeypatch.setattr("sys.argv", ["results.py", *options])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(REPOSITORY / "benchmarks" / "results.py"), run_name="__main__")
    assert (tmp_path / "results.md").read_text() == page.read_text(), "run python benchmarks/results.py --render"
    titles = {spec.title for spec in read_specs(TABLES).values()}
    assert titles == {line[3:] for line in page.read_text().splitlines() if line.startswith("## ")}
    assert {path.stem for path in page.with_suffix("").iterdir()} <= {path.stem for path in TABLES.glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(path.stem for path in TABLES.glob("*.yaml")))
def test_commands_of_the_committed_tables_make_the_runs_they_look_at(name: str, tmp_path: Path) -> None:
    spec = read_spec(TABLES / f"{name}.yaml")
    made = set()
    with initialize_config_dir(version_base="1.3", config_dir=str(REPOSITORY / "conf")):
        for command in spec.commands:
            script, *overrides = shlex.split(PLACEHOLDER.sub(lambda found: f"/{found[1]}", command))
            assert (REPOSITORY / script).is_file()
            is_sweep = overrides[0] == "-m"
            if not is_sweep and "run_pipeline" not in script:  # brings data
                continue
            overrides = overrides[is_sweep:]
            presets = [override for override in overrides if override.startswith("sweep=")]
            if presets:
                params = compose("config", overrides=presets, return_hydra_config=True).hydra.sweeper.params
                overrides += [f"{key}={value}" for key, value in params.items()]
            jobs = combinations(OverridesParser.create().parse_overrides(overrides))
            config = OmegaConf.to_object(compose("config", overrides=jobs[-1][0]))
            assert isinstance(config, Config)
            check_options(config)
            made |= {Path("/outputs") / config.run / (job if is_sweep else "") for _, job in jobs}
    found = sources(spec, Path("/outputs"))
    assert {source.folder for source in found} <= made


@pytest.mark.parametrize("name", sorted(path.stem for path in TABLES.glob("*.yaml")))
def test_the_committed_descriptions_render_with_any_numbers(name: str, tmp_path: Path) -> None:
    spec = read_spec(TABLES / f"{name}.yaml")
    values: Values = {}
    for place, source in enumerate(sources(spec, tmp_path)):
        values.setdefault(source.cell, {})[source.seed] = 40 + place**2 % 17
    write_json(tmp_path / "numbers.json", table_numbers(spec, values, []))
    text = render_table(spec, tmp_path / "numbers.json")
    assert text.count("\n|") == 2 + len(spec.rows)
    assert "\n\n\n" not in text
