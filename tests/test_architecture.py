"""Imports point one way, and importing one part does not load the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_import_contracts_of_pyproject_hold() -> None:
    result = run_python("import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_torchvision_can_be_imported_after_wsss() -> None:
    result = run_python("import wsss, torchvision; torchvision.models.resnet18(weights=None)")
    assert result.returncode == 0, result.stderr


def test_the_mathematics_loads_neither_lightning_nor_hydra_nor_the_model_zoo() -> None:
    unwanted = {"pytorch_lightning", "hydra", "omegaconf", "timm", "torchvision"}
    code = f"import sys, wsss.cam, wsss.masks, wsss.metrics, wsss.seeds; print(sorted({unwanted} & set(sys.modules)))"
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
