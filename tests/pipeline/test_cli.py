"""Scripts answer, and can be interrupted, before what takes long to load is loaded; nobody need read what they say."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from tests.pipeline.conftest import REPOSITORY, SMALL, compose_config
from wsss.pipeline.options_tree import options_tree

SLOW = ("torch", "torchvision", "pytorch_lightning", "timm", "scipy", "matplotlib", "torchmetrics")
PIPELINE = [sys.executable, str(REPOSITORY / "scripts" / "run_pipeline.py")]
# As Python's own hook of a site: whatever first asks for a module has the process act as the code says.
ON_IMPORT = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {act}
sys.meta_path.insert(0, Watch())
"""


def environment(folder: Path, module: str, act: str) -> dict[str, str]:
    """Variables under which a process acts at the first import of a module."""
    (folder / "sitecustomize.py").write_text(ON_IMPORT.format(module=module, act=act))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}


@pytest.mark.parametrize("module", ["wsss", "wsss.errors", "wsss.pipeline.cli", "wsss.pipeline.schema"])
def test_what_scripts_begin_with_loads_nothing_slow(module: str) -> None:
    code = f"import sys, {module}; print(*({{*{SLOW!r}}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not done.stdout.split()


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["no_such=1"], 2), (["--cfg", "job"], 0)])
def test_answers_about_options_come_without_torch(tmp_path: Path, arguments: list[str], status: int) -> None:
    env = environment(tmp_path, "torch", "os._exit(99)")
    done = subprocess.run([*PIPELINE, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr


def test_a_line_is_said_before_libraries_are_loaded(tmp_path: Path) -> None:
    env = environment(tmp_path, "torch", "sys.stdout.flush(); os._exit(99)")
    command = [*PIPELINE, "experiment=smoke", f"outputs={tmp_path}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 99
    assert f"run_pipeline: {tmp_path}/smoke" in done.stdout


def test_the_tree_of_options_has_what_was_given(tmp_path: Path) -> None:
    options = OmegaConf.structured(compose_config("experiment=smoke", "recam.sce_weight=0.3", "run='a[b]'"))
    with Console(width=200, record=True, file=io.StringIO()) as console:
        console.print(options_tree(options, ["recam.sce_weight=0.3"]))
    text = console.export_text()
    assert "a[b], random seed 0" in text
    assert "sce_weight 0.3" in text
    assert "given: recam.sce_weight=0.3" in text


@pytest.mark.parametrize("module", ["hydra", "torch", "pytorch_lightning", "wsss.pipeline.run"])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_interruptions_while_libraries_are_loaded(tmp_path: Path, module: str, which: signal.Signals) -> None:
    env = environment(tmp_path, module, f"os.kill(os.getpid(), {int(which)})")
    command = [*PIPELINE, "experiment=smoke", f"outputs={tmp_path}", f"data.root={REPOSITORY / 'data' / 'mini_voc'}"]
    # A suite that was itself started in the background, or by nohup, may ignore them, and so would what it starts.
    heard = partial(signal.signal, which, signal.SIG_DFL)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, preexec_fn=heard)
    assert done.returncode == 128 + which
    assert done.stderr == "interrupted; the same command goes on from here\n"
    assert len(done.stdout.splitlines()) <= 1  # what begins


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run_pipeline", ["--help"]),
        ("run_pipeline", ["--cfg", "job"]),
        ("run_pipeline", ["experiment=smoke", "until=classifier"]),
        ("validate_data", ["experiment=smoke", "limit_images=4"]),  # rich, which prints its table, has a way of its own
    ],
)
def test_a_closed_pipe_ends_a_script_quietly(tmp_path: Path, name: str, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = ended(tmp_path, name, arguments, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_lines_that_a_full_disk_does_not_take_are_one_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = ended(tmp_path, "train_cls", [*SMALL, "experiment=smoke"], stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: No space left on device; make room")
    assert len(done.stderr.splitlines()) == 1


def test_a_script_whose_output_is_closed_works(tmp_path: Path) -> None:
    done = ended(tmp_path, "validate_data", ["experiment=smoke", "limit_images=4"], preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_by_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    done = ended(tmp_path, "train_cls", [*SMALL, "experiment=smoke", "run=taken"])
    assert done.returncode == 2
    assert re.fullmatch(rf"error: {tmp_path}/taken.*: File exists; choose another .*run=<name>.*\n", done.stderr)


def test_an_option_of_other_scripts_is_told_as_that(tmp_path: Path) -> None:
    done = ended(tmp_path, "export", ["checkpoint=model.pt", "trainer=cpu"], outputs=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: trainer: not an option of this script; `--help` shows all options\n",
    )


def ended(
    folder: Path, name: str, arguments: Sequence[str], *, outputs: bool = True, **more: Any
) -> "subprocess.CompletedProcess[str]":
    """A script that has ended, with its outputs in a folder."""
    options = [*arguments, *([f"outputs={folder}"] if outputs and not arguments[0].startswith("--") else [])]
    command = [sys.executable, str(REPOSITORY / "scripts" / f"{name}.py"), *options]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run(command, cwd=REPOSITORY, env=env, text=True, check=False, **pipes)
