"""Asked to end: one line, a status that says by what, and the same command goes on."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import REPOSITORY, SMALL

EPOCHS = 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_training_asked_to_end_says_so_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    options = [*SMALL, "experiment=smoke", "trainer.accelerator=cpu", "logger=none", f"outputs={tmp_path}", "run=run"]
    command = [sys.executable, str(REPOSITORY / "scripts" / "train_cls.py"), *options, f"classifier.epochs={EPOCHS}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A suite that was itself started in the background may ignore Ctrl-C, and so would what it starts.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, preexec_fn=heard, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any("epoch 2 of" in line for line in process.stdout)  # so that the first has its checkpoint
        process.send_signal(number)
        process.stdout.read()
        told = [line for line in process.stderr.read().splitlines() if line.strip()]
    assert process.returncode == 128 + number
    assert told == ["interrupted; the same command goes on from here"]
    assert (tmp_path / "run" / "classifier" / "checkpoints" / "last.ckpt").exists()
