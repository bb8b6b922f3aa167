"""Image and mask stay together through every transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors

from wsss.data import center_transform, eval_transform, palette, train_transform
from wsss.data.transforms import ResizeLong

MEAN_COLOR = (124, 116, 104)
COLORS = torch.from_numpy(palette())


def painted(mask: Tensor) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """An image that shows the palette colours of a mask (H, W)."""
    return tv_tensors.Image(COLORS[mask.long()].permute(2, 0, 1).contiguous()), tv_tensors.Mask(mask[None])


def blocks(seed: int, rows: int, columns: int, side: int = 12) -> Tensor:
    """A mask of square blocks of labels 1 … 20: no background, so that padding is recognised."""
    labels = torch.randint(1, 21, (rows, columns), generator=torch.Generator().manual_seed(seed))
    return labels.repeat_interleave(side, 0).repeat_interleave(side, 1).byte()


def inside(mask: Tensor) -> Tensor:
    """Pixels whose neighbours, two cells around, all have their label."""
    same = torch.ones_like(mask, dtype=torch.bool)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            same &= mask == mask.roll((dy, dx), (0, 1))
    same[:2], same[-2:], same[:, :2], same[:, -2:] = False, False, False, False
    return same


def assert_aligned(image: Tensor, mask: Tensor) -> None:
    """Away from borders each pixel has its label's colour, and padding the mean colour."""
    expected = COLORS[mask[0].long()]
    expected[mask[0] == 255] = torch.tensor(MEAN_COLOR, dtype=torch.uint8)
    pixels = inside(mask[0])
    assert pixels.any()
    difference = image.permute(1, 2, 0)[pixels].int() - expected[pixels].int()
    assert difference.abs().max() <= 1


OPTIONS = [
    {"crop": 48},
    {"crop": 48, "flip": False},
    {"crop": 64, "scale": [0.6, 1.7]},
    {"crop": 80, "resize_long": [40, 100]},
    {"crop": 120},
]


@given(seed=st.integers(0, 2**16), options=st.sampled_from(OPTIONS), rows=st.integers(3, 6), columns=st.integers(3, 6))
def test_training_images_and_masks_stay_aligned(seed: int, options: dict, rows: int, columns: int) -> None:
    torch.manual_seed(seed)
    image, mask = train_transform(**options)(*painted(blocks(seed, rows, columns)))
    assert image.shape == (3, options["crop"], options["crop"])
    assert mask.shape == (1, options["crop"], options["crop"])
    assert image.dtype == mask.dtype == torch.uint8
    assert_aligned(image, mask)


@pytest.mark.parametrize("length", [24, 32, 40, 60, 96, 150])
def test_resizing_shifts_no_label(length: int) -> None:
    shifts = []
    for start in range(20, 38):
        mask = torch.ones(72, 72, dtype=torch.uint8)
        mask[:, start : start + 20] = 15
        image, resized = ResizeLong((length, length))(*painted(mask))
        shown = (image[0].float() - 128) / 64  # red goes from 128 to 192 between the two labels
        cells = torch.arange(length)
        centers = [(w * cells).sum() / w.sum() for w in (shown, (resized[0] == 15).float())]
        shifts.append(float(centers[1] - centers[0]))
    assert max(map(abs, shifts)) <= 0.5  # a border goes to the nearest cell
    assert abs(sum(shifts) / len(shifts)) <= 0.1  # and to either side about alike


def test_crops_of_small_images_are_padded_with_mean_colour_and_void() -> None:
    image, mask = train_transform(crop=64, flip=False)(*painted(blocks(0, 2, 3)))
    is_padding = mask[0] == 255
    assert is_padding.sum() == 64 * 64 - 24 * 36
    assert (image[:, is_padding] == torch.tensor(MEAN_COLOR, dtype=torch.uint8)[:, None]).all()


def test_half_of_the_images_are_mirrored() -> None:
    mask = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    transform = train_transform(crop=2)
    results = [transform(*painted(mask))[1][0] for _ in range(200)]
    mirrored = sum(torch.equal(result, mask.flip(1)) for result in results)
    assert sum(torch.equal(result, mask) for result in results) == 200 - mirrored
    assert 70 < mirrored < 130


def test_without_flip_nothing_is_mirrored() -> None:
    mask = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
    transform = train_transform(crop=2, flip=False)
    assert all(torch.equal(transform(*painted(mask))[1][0], mask) for _ in range(20))


def test_colour_changes_leave_the_mask_alone() -> None:
    image, mask = painted(blocks(0, 3, 3))
    changed, same = train_transform(crop=36, flip=False, color_jitter=0.4)(image, mask)
    assert torch.equal(same, mask)
    assert not torch.equal(changed, image)


def test_longer_sides_are_drawn_from_the_whole_range() -> None:
    transform = ResizeLong((30, 33))
    sizes = {tuple(transform(*painted(blocks(0, 2, 4)))[0].shape[1:]) for _ in range(60)}
    assert sizes == {(15, 30), (16, 31), (16, 32), (16, 33)}


def test_equal_seeds_give_equal_crops() -> None:
    transform = train_transform(crop=40, scale=[0.5, 1.5], color_jitter=0.3)
    crops = []
    for _ in range(2):
        torch.manual_seed(5)
        crops.append(transform(*painted(blocks(0, 4, 4)))[0])
    assert torch.equal(*crops)


@pytest.mark.parametrize(("rows", "columns"), [(2, 4), (4, 2), (3, 3)])
def test_validation_images_become_squares_padded_around_with_void(rows: int, columns: int) -> None:
    image, mask = center_transform(96)(*painted(blocks(0, rows, columns)))
    assert image.shape == (3, 96, 96)
    assert_aligned(image, mask)
    ys, xs = np.nonzero(mask[0].numpy() != 255)
    height, width = 96 * rows // max(rows, columns), 96 * columns // max(rows, columns)
    top, left = (96 - height) // 2, (96 - width) // 2
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (top, top + height - 1, left, left + width - 1)


def test_whole_images_keep_their_size_or_take_the_one_asked_for() -> None:
    image, mask = painted(blocks(0, 2, 4))
    same_image, same_mask = eval_transform()(image, mask)
    assert torch.equal(same_image, image)
    assert torch.equal(same_mask, mask)
    resized, resized_mask = eval_transform(24)(image, mask)
    assert resized.shape == (3, 12, 24)
    assert resized_mask.shape == (1, 12, 24)


def test_samples_without_mask_pass_all_transforms() -> None:
    image, _ = painted(blocks(0, 2, 3))
    empty = tv_tensors.Mask(torch.empty(0, 24, 36, dtype=torch.uint8))
    for transform in (train_transform(crop=50, scale=[0.5, 2.0]), center_transform(50), eval_transform(20)):
        shown, mask = transform(image, empty)
        assert mask.shape == (0, *shown.shape[1:])
