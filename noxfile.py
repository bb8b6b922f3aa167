"""Tests with the oldest and the newest releases that pyproject.toml allows: `make compat`, or `nox -s oldest`.

The oldest are the lower bounds of pyproject.toml themselves, the newest what pip finds without constraints. Each takes
some 6 GB where torch brings CUDA along. Extras whose tests skip themselves without them are left out.
"""

from __future__ import annotations

import nox
from packaging.requirements import Requirement

EXTRAS = ("demo", "tracking", "graphcut", "coco", "smp", "sweep", "onnx", "dask")
TESTS = ("tests", "-m", "not slow", "--ignore=tests/faults/test_kill.py", "-n", "2", "--dist", "loadfile")
PROJECT = nox.project.load_toml("pyproject.toml")["project"]

nox.options.sessions = ["oldest", "newest"]


def _requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in PROJECT["dependencies"] + [line for name in EXTRAS for line in extras[name]]]


def _oldest(requirement: Requirement) -> str:
    """`torch>=2.11` as `torch==2.11`; pip reads it as 2.11.0."""
    (bound,) = requirement.specifier
    return f"{requirement.name}=={bound.version}"


def _tested(session: nox.Session, packages: list[str]) -> None:
    session.install("--upgrade", *packages, "pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100")
    session.install("--no-deps", "--editable", ".")
    session.env["OMP_NUM_THREADS"] = "1"
    out = f"outputs={session.create_tmp()}"
    session.run("python", "scripts/run_pipeline.py", "experiment=smoke", "logger=csv", out)
    session.run("python", "-m", "pytest", *(session.posargs or TESTS))


@nox.session
def oldest(session: nox.Session) -> None:
    """The lower bounds."""
    _tested(session, [_oldest(requirement) for requirement in _requirements()])


@nox.session
def newest(session: nox.Session) -> None:
    """The last releases, whatever constraints.txt says."""
    _tested(session, [str(requirement) for requirement in _requirements()])
