"""Nothing that is read can run: the code asks for plain values everywhere."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hostile.images import postscript
from wsss.errors import InputError
from wsss.photographs import image_size, read_image

REPOSITORY = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("wsss", "scripts") for path in (REPOSITORY / folder).rglob("*.py"))
# Calls that may run what a file holds, and the arguments without which they do.
SAFE_BY = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "trainer.fit": ("weights_only", True),
}
NEVER = {
    *("eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads"),
    *(
        "joblib.load",
        "shelve.open",
        "dill.load",
        "dill.loads",
        "torch.jit.load",
        "torch.hub.load",
        "os.system",
        "os.popen",
    ),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "hydra.utils.instantiate"),
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def faults(path: Path) -> list[str]:
    found = []
    for name, call in calls(path):
        given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
        argument, value = SAFE_BY.get(name, ("", None))
        if name in NEVER or (name in SAFE_BY and given.get(argument, "not given") is not value):
            found.append(f"{path.name}, line {call.lineno}: {name}")
        if given.get("shell"):
            found.append(f"{path.name}, line {call.lineno}: a shell")
        if given.get("allow_pickle"):
            found.append(f"{path.name}, line {call.lineno}: {name} with pickles")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_source_reads_pickled_objects_or_runs_text(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize(
    "line",
    [
        *(
            "torch.load(p)",
            "torch.load(p, weights_only=False)",
            "np.load(p)",
            "np.load(p, allow_pickle=True)",
            "eval('1')",
        ),
        *("yaml.load(f)", "trainer.fit(task)", "subprocess.run(c, shell=True)", "np.save(p, a, allow_pickle=True)"),
    ],
)
def test_the_look_at_the_sources_sees_what_it_is_for(tmp_path: Path, line: str) -> None:
    (tmp_path / "code.py").write_text(f"{line}\n")
    assert len(faults(tmp_path / "code.py")) > 0


def test_a_program_inpostscript_is_not_handed_to_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    for name in ("check_call", "run", "Popen"):
        monkeypatch.setattr(subprocess, name, run)
    (tmp_path / "photo.jpg").write_bytes(postscript())
    for read in (read_image, image_size):
        with pytest.raises(InputError, match=r"photo\.jpg: not a readable image"):
            read(tmp_path / "photo.jpg")
