"""Memory that does not suffice: halves where that changes nothing, a line elsewhere."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.pipeline.conftest import SMALL
from wsss.errors import InputError
from wsss.memory import by_halves, is_out_of_memory
from wsss.models import Classifier
from wsss.pipeline import make_seeds as seed_module
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.seeds import load_seeds

OPTIONS = (*SMALL, "logger=none", "cam=cam", "cam.extra=[]", "until=seeds", "reuse=false")
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried …"),
]


@given(st.lists(st.integers(), min_size=1, max_size=40), st.integers(1, 9))
def test_halves_give_what_the_whole_would(items: list[int], room: int) -> None:
    asked = []

    def work(part: Sequence[int]) -> list[int]:
        asked.append(len(part))
        if len(part) > room:
            raise MemoryError
        return [2 * item for item in part]

    assert by_halves(work, items) == [2 * item for item in items]
    assert sum(number for number in asked if number <= room) == len(items)


def test_one_item_too_large_and_other_errors_are_raised() -> None:
    def fail(part: Sequence[int]) -> list[int]:
        raise MemoryError if len(part) == 1 else ValueError("two")

    with pytest.raises(MemoryError):
        by_halves(fail, [1])
    with pytest.raises(ValueError, match="two"):
        by_halves(fail, [1, 2])


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_all_ways_of_saying_so_are_known(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(SystemExit), one_line_errors():
        raise error
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_other_errors_are_none() -> None:
    others = [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(12, "")]
    assert not any(map(is_out_of_memory, others))


def test_seeds_of_batches_that_do_not_fit_are_those_of_batches_that_do_but_for_rounding(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_run(*OPTIONS, "run=whole", "cam.batch_size=4")
    run_pipeline(whole)
    draw = seed_module.draw_maps

    def draw_one(network: Classifier, images: Tensor, *arguments: object) -> object:
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return draw(network, images, *arguments)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(seed_module, "draw_maps", draw_one)
    halved = make_run(*OPTIONS, "run=halved", "cam.batch_size=4")
    run_pipeline(halved)
    for image_id in whole.train_ids:
        expected, found = (load_seeds(run.folder / "seeds" / f"{image_id}.npz").maps for run in (whole, halved))
        assert np.abs(expected - found).max() < 2e-3  # of values up to 1, kept in float16


def test_a_training_that_does_not_fit_names_what_to_lower(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Classifier, "forward", fail)
    with pytest.raises(InputError, match=r"out of memory; a lower classifier\.batch_size or smaller classifier\.aug"):
        run_pipeline(make_run(*OPTIONS))
