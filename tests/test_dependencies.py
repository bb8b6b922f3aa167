"""What is imported is declared, and what is declared is explained in docs/dependencies.md.

As a program: how many packages a plain install brings along.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {  # by what is imported, where the names differ
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "dask": "distributed",
    "hydra": "hydra-core",
    "lightning_fabric": "pytorch-lightning",
    "pydensecrf": "pydensecrf2",
    "yaml": "pyyaml",
}
OURS = {"wsss", "hydra_plugins", "tests", "scripts"}


def declared(lines: list[str]) -> dict[str, str]:
    """Lower bound of each package."""
    bounds = {}
    for requirement in map(Requirement, lines):
        (bound,) = requirement.specifier
        assert bound.operator == ">=", f"{requirement} has no lower bound"
        bounds[canonicalize_name(requirement.name)] = bound.version
    return bounds


ALWAYS = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def imported(path: Path, *, at_once: bool) -> set[str]:
    """Packages of others a file imports, anywhere or (`at_once`) when it is imported itself."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_once else ast.walk(tree)
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    nodes = tree.body if at_once else ast.walk(tree)
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    tops = {name.partition(".")[0] for name in names} - {*sys.stdlib_module_names} - OURS
    return {canonicalize_name(DISTRIBUTIONS.get(top, top)) for top in tops}


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading of docs/dependencies.md."""
    section = (REPOSITORY / "docs" / "dependencies.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("folder", ["wsss", "scripts"])
def test_everything_that_is_imported_is_declared(folder: str) -> None:
    known = {*ALWAYS}.union(*(packages for name, packages in EXTRAS.items() if name != "dev"))
    found = {path: imported(path, at_once=False) for path in (REPOSITORY / folder).rglob("*.py")}
    assert len(found) > 10
    undeclared = {f"{path}: {name}" for path, names in found.items() for name in names - known}
    assert not undeclared


def test_everything_that_is_declared_is_imported() -> None:
    paths = [*(REPOSITORY / "wsss").rglob("*.py"), *(REPOSITORY / "scripts").rglob("*.py")]
    used = set().union(*(imported(path, at_once=False) for path in paths))
    assert {*ALWAYS} <= used


def test_the_first_table_is_what_pyproject_installs_always() -> None:
    assert {row[0]: row[1] for row in rows("Always")} == ALWAYS


def test_the_second_table_is_what_pyproject_has_as_extras() -> None:
    expected = {(name, bound, extra) for extra, bounds in EXTRAS.items() for name, bound in bounds.items()}
    assert {(row[0], row[1], row[2]) for row in rows("Extras")} == {row for row in expected if row[2] != "dev"}


@pytest.mark.parametrize("heading", ["Always", "Extras"])
def test_every_dependency_has_a_reason_and_a_licence(heading: str) -> None:
    assert all(all(row) for row in rows(heading))


def test_tested_releases_are_allowed_ones() -> None:
    bounds = ALWAYS.copy()
    for packages in EXTRAS.values():
        bounds |= packages
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(pinned) > 20
    for pin in pinned:
        bound = bounds.get(canonicalize_name(pin.name))
        if bound is not None:
            (version,) = pin.specifier
            assert Requirement(f"{pin.name}>={bound}").specifier.contains(version.version), pin


def test_the_version_is_said_alike_everywhere() -> None:
    import wsss

    cited = re.search(r"(?m)^version: (.+)$", (REPOSITORY / "CITATION.cff").read_text())
    released = re.search(r"(?m)^## \[?(\d[^\]\s]*)", (REPOSITORY / "CHANGELOG.md").read_text())
    assert cited is not None
    assert released is not None
    assert cited[1] == released[1] == PROJECT["version"] == wsss.__version__


def brought_along(lines: list[str]) -> set[str]:
    """Installed packages that these require, and so on."""
    found: set[tuple[str, frozenset[str]]] = set()  # with the extras they are wanted with
    todo = [(Requirement(line), frozenset[str]()) for line in lines]
    while todo:
        requirement, of_parent = todo.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in {"", *of_parent}):
            continue
        package = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if package not in found:
            found.add(package)
            todo += [(Requirement(line), package[1]) for line in metadata.requires(package[0]) or []]
    return {name for name, _ in found}


if __name__ == "__main__":
    packages = {name for name in brought_along(PROJECT["dependencies"]) if not re.match("nvidia|cuda|triton", name)}
    print(len(packages), "packages:", *sorted(packages))  # noqa: T201  (a program)
