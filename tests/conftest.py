"""Fixtures shared by all tests. `wsss` comes first: it makes torchvision importable (see wsss/_torchvision.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import wsss  # noqa: F401  isort: skip
import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.segmenters import save_small_segmenter

GOLDEN = Path(__file__).parent / "golden"

torch.set_num_threads(1)
settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Load a file of reference arrays by name; tests/golden/README.md says what each array is."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    return load


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a small segmenter, in a folder of its own."""
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.manual_seed(0)  # comes before `_seeded`
    save_small_segmenter(path)
    return path


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
