"""Multi-scale, flipped inference against ReCAM's numbers."""

from __future__ import annotations

import pytest
import torch

from wsss.cam import cam, merge_flips, published_maps, strided_size, sum_scales, with_flips
from wsss.models.recam import map_weight

EXACT = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def reference(golden):
    return {name: torch.from_numpy(array) for name, array in golden("recam_infer").items()}


@pytest.mark.parametrize(("name", "kind"), [("cam", "fc1"), ("recam", "w1w2")])
def test_both_published_outputs_are_the_references(reference, name: str, kind: str) -> None:
    size = tuple(reference["size"].tolist())
    weight = map_weight(reference["W1"], reference["W2"], kind)
    raw = [merge_flips(cam(reference[f"feat_s{s}"], weight))[0] for s in range(4)]
    for s, maps in enumerate(raw):
        torch.testing.assert_close(maps, reference[f"{name}_raw_s{s}"], **EXACT)
    strided, high_res = published_maps([maps[reference["keys"]] for maps in raw], size)
    torch.testing.assert_close(strided, reference[name], **EXACT)
    torch.testing.assert_close(high_res, reference[f"{name}_high_res"], **EXACT)


def test_strided_sizes_are_the_references(reference) -> None:
    size = tuple(reference["size"].tolist())
    assert strided_size(size) == tuple(reference["strided_size"].tolist())
    assert tuple(16 * n for n in strided_size(size, 16)) == tuple(reference["strided_up_size"].tolist())


@pytest.mark.parametrize(("size", "expected"), [((1, 4), (1, 1)), ((5, 8), (2, 2)), ((9, 16), (3, 4))])
def test_strided_size_rounds_up(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert strided_size(size) == expected


def test_merge_flips_undoes_with_flips_up_to_a_factor_of_two() -> None:
    images = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(merge_flips(with_flips(images)), 2 * images)


def test_merge_flips_pairs_each_image_with_its_own_mirror() -> None:
    maps = torch.zeros(4, 1, 1, 2)
    maps[0, 0, 0, 0], maps[3, 0, 0, 0] = 1.0, 5.0  # first image; mirrored second image
    assert merge_flips(maps).tolist() == [[[[1.0, 0.0]]], [[[0.0, 5.0]]]]


def test_sum_scales_by_hand() -> None:
    total = sum_scales([torch.tensor([[[2.0]]]), torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])], (2, 2))
    assert total.tolist() == [[[2.0, 3.0], [4.0, 5.0]]]


def test_an_image_without_classes_has_empty_published_maps() -> None:
    strided, high_res = published_maps([torch.zeros(0, 3, 4), torch.zeros(0, 5, 7)], (45, 60))
    assert strided.shape == (0, 12, 15)
    assert high_res.shape == (0, 45, 60)
