"""Losses of pairs of cells, against loops over them."""

from __future__ import annotations

import math

import pytest
import torch

from wsss.labels import VOID
from wsss.masks import edge_affinities
from wsss.masks.affinity import neighbours
from wsss.tasks import affinity_loss, displacement_loss, pair_labels

RADIUS = 4


@pytest.fixture
def labels() -> torch.Tensor:
    """(2, 6, 7) of background, two classes and void."""
    generator = torch.Generator().manual_seed(0)
    return torch.tensor([0, 0, 1, 2, VOID])[torch.randint(0, 5, (2, 6, 7), generator=generator)]


def pairs_of(labels: torch.Tensor) -> list[tuple[int, tuple[int, int, int], tuple[int, int, int]]]:
    """Number of the way, first cell, second cell of all pairs within the images."""
    batch, height, width = labels.shape
    return [
        (number, (b, y, x), (b, y + dy, x + dx))
        for number, (dy, dx) in enumerate(neighbours(RADIUS))
        for b in range(batch)
        for y in range(height)
        for x in range(width)
        if y + dy < height and 0 <= x + dx < width
    ]


def groups_of(labels: torch.Tensor) -> dict[str, list[tuple[int, tuple[int, int, int], tuple[int, int, int]]]]:
    groups: dict[str, list[tuple[int, tuple[int, int, int], tuple[int, int, int]]]] = {
        "background": [],
        "foreground": [],
        "different": [],
    }
    for pair in pairs_of(labels):
        first, second = int(labels[pair[1]]), int(labels[pair[2]])
        if VOID not in (first, second):
            group = "different" if first != second else "foreground" if first else "background"
            groups[group].append(pair)
    return groups


def test_pairs_are_grouped_by_their_labels(labels: torch.Tensor) -> None:
    found = pair_labels(labels, RADIUS)._asdict()
    for name, pairs in groups_of(labels).items():
        assert int(found[name].sum()) == len(pairs) > 0
        assert all(found[name][number][first] for number, first, _ in pairs)


def test_affinity_loss_is_the_mean_over_each_group(labels: torch.Tensor) -> None:
    edge = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(1))
    affinities = edge_affinities(edge, RADIUS)
    means = {}
    for name, pairs in groups_of(labels).items():
        values = [float(affinities[number][first]) for number, first, _ in pairs]
        logs = [-math.log(1 + 1e-5 - a) if name == "different" else -math.log(a + 1e-5) for a in values]
        means[name] = sum(logs) / len(logs)
    expected = means["foreground"] / 4 + means["background"] / 4 + means["different"] / 2
    assert float(affinity_loss(affinities, pair_labels(labels, RADIUS))) == pytest.approx(expected, rel=1e-4)


def test_displacements_to_a_centre_cost_nothing() -> None:
    labels = torch.ones(1, 8, 9, dtype=torch.long)
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    to_centre = torch.stack([4 - rows, 3 - columns])[None]
    pairs = pair_labels(labels, RADIUS)
    assert float(displacement_loss(to_centre, pairs, RADIUS)) < 1e-5
    assert float(displacement_loss(-to_centre, pairs, RADIUS)) > 1
    background = pair_labels(0 * labels, RADIUS)
    assert float(displacement_loss(torch.full_like(to_centre, 5.0), background, RADIUS)) == 0
    assert float(displacement_loss(to_centre, background, RADIUS)) > 0.5


def test_void_labels_alone_teach_nothing() -> None:
    pairs = pair_labels(torch.full((1, 6, 6), VOID), RADIUS)
    edge = torch.rand(1, 6, 6, requires_grad=True)
    loss = affinity_loss(edge_affinities(edge, RADIUS), pairs)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not edge.grad.any()
