"""Scales, mirror images and windows change what a network sees, never where its labels lie."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from wsss.models import Inference, SegmentationNetwork, coarse_logits, full_logits, grown_labels, predict_labels
from wsss.models import inference as module
from wsss.models.inference import grown_strips

SIDES = st.integers(1, 60)


class Pointwise(SegmentationNetwork):
    """The mean colour of each 4 × 4 cell, weighted for each label; remembers the sizes it has seen."""

    def __init__(self, num_labels: int = 3) -> None:
        super().__init__()
        self.backbone = nn.Identity()
        self.head = nn.Conv2d(3, num_labels, 1)
        self.seen: list[tuple[int, ...]] = []

    def logits(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape[2:]))
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        return self.head(F.adaptive_avg_pool2d(images, [-(-side // 4) for side in images.shape[2:]]))


class Column(SegmentationNetwork):
    """One logit: how far to the right a cell lies, -1 to 1, whatever the image shows."""

    def logits(self, images: Tensor) -> Tensor:
        height, width = (-(-side // 4) for side in images.shape[2:])
        return torch.linspace(-1, 1, width).expand(len(images), 1, height, width)


def photographs(height: int, width: int, batch: int = 1) -> Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)


def assert_equal(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 40))
def test_strips_are_bilinear_interpolation(h: int, w: int, height: int, width: int, rows: int) -> None:
    logits = torch.randn(2, 3, h, w)
    strips = list(grown_strips(logits, (height, width), rows))
    assert all(strip.shape[2] <= rows for strip in strips)
    assert_equal(torch.cat(strips, dim=2), F.interpolate(logits, (height, width), mode="bilinear", align_corners=False))


@torch.no_grad()
def test_labels_are_the_arg_max_of_the_logits_at_full_size() -> None:
    model, images, inference = Pointwise(), photographs(97, 131, batch=2), Inference(scales=(0.5, 1.5), flip=True)
    labels = predict_labels(model, images, inference)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), full_logits(model, images, inference).argmax(dim=1))
    half = full_logits(model, images, inference, size=(48, 65))
    assert torch.equal(grown_labels(half, (48, 65)).long(), half.argmax(dim=1))


@torch.no_grad()
@given(st.integers(2, 14), st.integers(2, 14), st.integers(8, 40), st.floats(0, 0.95))
def test_windows_of_a_network_without_context_are_the_whole(rows: int, columns: int, window: int, part: float) -> None:
    model, images = Pointwise(), photographs(4 * rows, 4 * columns)
    cut = coarse_logits(model, images, Inference(window=window, overlap=part))
    assert_equal(cut, coarse_logits(model, images, Inference()))


@torch.no_grad()
@pytest.mark.parametrize("size", [(97, 131), (33, 250), (250, 35)])
def test_windows_stay_in_place_where_cells_do_not_fit_the_image(size: tuple[int, int]) -> None:
    height, width = size
    ramp = (torch.arange(width) + 0.5).expand(1, 3, height, width) + (torch.arange(height)[:, None] + 0.5)
    model = Pointwise(1)
    nn.init.constant_(model.head.weight, 1 / 3)
    nn.init.zeros_(model.head.bias)
    whole = full_logits(model, ramp, Inference(window=1000))
    cut = full_logits(model, ramp, Inference(window=32))
    inner = (..., slice(4, -4), slice(4, -4))  # at the border, bilinear growing is flat
    # Half a pixel down and half a pixel right, and a little because the toy pools whole pixels.
    assert (cut - whole)[inner].abs().max() <= 1.5
    assert (whole - ramp[:, :1])[inner].abs().max() <= 1.0


@torch.no_grad()
def test_a_window_as_large_as_the_image_sees_it_whole() -> None:
    model, images = Pointwise(), photographs(41, 67)
    assert torch.equal(
        coarse_logits(model, images, Inference(window=67)), coarse_logits(model, images, Inference(window=None))
    )
    assert model.seen == [(41, 67), (41, 67)]


@torch.no_grad()
def test_large_photographs_are_cut_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIXELS", 48 * 48)
    monkeypatch.setattr(module, "WINDOW", 32)
    model = Pointwise()
    coarse_logits(model, photographs(48, 48), Inference())
    assert model.seen == [(48, 48)]
    coarse_logits(model, photographs(48, 64), Inference())
    assert len(model.seen) > 2
    assert max(max(size) for size in model.seen[1:]) == 32
    model.seen.clear()
    coarse_logits(model, photographs(96, 128), Inference(resize_long=40))  # what counts is the size it is seen at
    coarse_logits(model, photographs(48, 64), Inference(window=64))
    assert model.seen == [(30, 40), (48, 64)]


@torch.no_grad()
def test_the_mirror_image_of_a_network_without_context_adds_nothing() -> None:
    model, images = Pointwise(), photographs(40, 64)
    assert_equal(coarse_logits(model, images, Inference(flip=True)), coarse_logits(model, images, Inference()))


def test_a_leaning_to_one_side_is_evened_out_by_the_mirror_image() -> None:
    images = photographs(40, 64)
    assert coarse_logits(Column(), images, Inference()).abs().max() == 1
    assert coarse_logits(Column(), images, Inference(flip=True)).abs().max() < 1e-6


@torch.no_grad()
def test_scales_are_averaged_on_one_grid() -> None:
    model, images = Pointwise(), photographs(40, 64)
    both = coarse_logits(model, images, Inference(scales=(0.5, 1.0)))
    half = F.interpolate(coarse_logits(model, images, Inference(scales=(0.5,))), (10, 16), mode="bilinear")
    assert_equal(both, (half + coarse_logits(model, images, Inference())) / 2)
    assert (20, 32) in model.seen


@torch.no_grad()
def test_a_batch_is_what_its_images_are_one_by_one() -> None:
    model, images = Pointwise(), photographs(50, 70, batch=3)
    inference = Inference(resize_long=90, scales=(1.0, 0.75), flip=True, window=48)
    alone = [full_logits(model, image[None], inference) for image in images]
    assert_equal(full_logits(model, images, inference), torch.cat(alone))


@torch.no_grad()
def test_images_of_floats_and_of_bytes_are_seen_alike() -> None:
    model, images, inference = Pointwise(), photographs(50, 70), Inference(scales=(0.7,))
    assert_equal(coarse_logits(model, images, inference), coarse_logits(model, images / 255, inference))


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 2)])
def test_tiny_images_have_labels_too(size: tuple[int, int]) -> None:
    inference = Inference(scales=(0.25, 1.0), flip=True, window=8)
    assert predict_labels(Pointwise(), photographs(*size), inference).shape == (1, *size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales above 0"),
        ({"scales": (1.0, -1.0)}, "scales above 0"),
        ({"window": 4}, "a window of at least 8"),
        ({"overlap": 1.0}, r"an overlap in \[0, 1\)"),
        ({"resize_long": 0}, "resize_long from 1 to"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inference(**options)  # type: ignore[arg-type]
