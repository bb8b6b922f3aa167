"""Which sizes are left to cuDNN; no GPU is needed to count."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from wsss.cudnn import FamiliarSizes

PLAIN = nn.Sequential(nn.Conv2d(3, 4, 1))
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4))


def images(height: int, *, is_cuda: bool = True) -> Any:
    return SimpleNamespace(shape=torch.Size([2, 3, height, 8]), is_cuda=is_cuda)


def used(sizes: FamiliarSizes, *heights: int, is_cuda: bool = True) -> list[bool]:
    """Whether cuDNN was on for each input in turn."""
    found = []
    for height in heights:
        with sizes.of(images(height, is_cuda=is_cuda)):
            found.append(torch.backends.cudnn.enabled)
    return found


def test_cudnn_takes_a_size_that_has_come_often() -> None:
    assert torch.backends.cudnn.enabled
    sizes = FamiliarSizes(DEPTHWISE, often=2)
    assert used(sizes, 5, 5, 6, 5, 6, 6, 5) == [False, False, False, True, False, True, True]
    assert torch.backends.cudnn.enabled


def test_other_networks_and_processors_always_have_it() -> None:
    assert used(FamiliarSizes(PLAIN), 5, 6) == [True, True]
    assert used(FamiliarSizes(DEPTHWISE), 5, 6, is_cuda=False) == [True, True]


def test_it_comes_back_after_an_error_and_stays_out_where_it_was_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="inside"), FamiliarSizes(DEPTHWISE).of(images(5)):
        raise ValueError("inside")
    assert torch.backends.cudnn.enabled
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    assert used(FamiliarSizes(PLAIN), 5) == [False]
    assert not torch.backends.cudnn.enabled
