"""Loaders: which images end up in a batch."""

from __future__ import annotations

import pytest
import torch
from joblib import Parallel, delayed

from wsss.data import ImageDataset, TrainValData, label_table, size_loader, train_transform
from wsss.data.datamodule import size_batches
from wsss.data.dataset import Draw

IDS = ["one", "two", "three"]


def dataset(tiny, *, transform=None, ids=IDS) -> ImageDataset:
    return ImageDataset(
        tiny, ids, label_table(tiny, ids), transform=transform, mask_folder=tiny.root / "SegmentationClass"
    )


def test_batches_hold_images_of_one_size(tiny) -> None:
    assert size_batches(dataset(tiny), 2) == [[1], [0, 2]]  # 16 × 24, then 24 × 16
    assert size_batches(dataset(tiny), 1) == [[1], [0], [2]]


def test_processes_share_the_batches_of_one(tiny) -> None:
    whole = list(size_loader(dataset(tiny), batch_size=1))
    shards = [list(size_loader(dataset(tiny), batch_size=1, shard=(i, 2))) for i in range(2)]
    assert [b.ids for b in shards[0]] == [b.ids for b in whole[::2]]
    assert [b.ids for b in shards[1]] == [b.ids for b in whole[1::2]]


def test_processes_share_every_batch_of_training_and_no_image_twice(tiny) -> None:
    train = dataset(tiny, transform=train_transform(crop=8))
    shards = [TrainValData(train, train, batch_size=2, shard=(i, 2)).train_dataloader() for i in range(2)]
    seen = [[image_id for batch in loader for image_id in batch.ids] for loader in shards]
    assert [len(ids) for ids in seen] == [1, 1]
    assert {*seen[0]} != {*seen[1]}


@pytest.mark.parametrize("world", [2, 4])
def test_processes_validate_every_image_once_in_equally_many_batches(tiny, world: int) -> None:
    data = dataset(tiny)
    shards = [
        list(TrainValData(data, data, batch_size=1, val_same_size=False, shard=(i, world)).val_dataloader())
        for i in range(world)
    ]
    assert sorted(image_id for batches in shards for batch in batches for image_id in batch.ids) == sorted(IDS)
    assert len({len(batches) for batches in shards}) == 1


def epoch(loader, number: int) -> list[torch.Tensor]:
    loader.sampler.set_epoch(number)
    return [batch.images for batch in loader]


def test_draws_follow_from_seed_epoch_and_image_alone(tiny) -> None:
    train = dataset(tiny, transform=train_transform(crop=8, color_jitter=0.3), ids=IDS)
    loader = TrainValData(train, train, batch_size=3, seed=1).train_dataloader()
    (first,), (second,) = epoch(loader, 0), epoch(loader, 1)
    torch.rand(7)
    assert torch.equal(epoch(loader, 0)[0], first)
    assert not torch.equal(first.sum((1, 2, 3)).sort().values, second.sum((1, 2, 3)).sort().values)
    shares = [
        epoch(TrainValData(train, train, batch_size=2, shard=(i, 2), seed=1).train_dataloader(), 0) for i in range(2)
    ]
    for images in (image for share in shares for image in share):
        assert any(torch.equal(images[0], image) for image in first)
    other = TrainValData(train, train, batch_size=3, seed=2).train_dataloader()
    assert not torch.equal(epoch(other, 0)[0], first)
    state = torch.get_rng_state()
    train[Draw(0, seed=3)]
    assert torch.equal(torch.get_rng_state(), state)  # others' random numbers are as if there had been no draw


def ids_by_loader_process(data: ImageDataset) -> list[str]:
    return [image_id for batch in size_loader(data, batch_size=1, num_workers=1) for image_id in batch.ids]


def test_loader_processes_start_within_processes_of_joblib(tiny) -> None:
    found = Parallel(n_jobs=2)(delayed(ids_by_loader_process)(dataset(tiny)) for _ in range(2))
    assert [sorted(ids) for ids in found] == [sorted(IDS)] * 2


def test_size_loader_visits_every_image_once(tiny) -> None:
    batches = list(size_loader(dataset(tiny), batch_size=8))
    assert [batch.ids for batch in batches] == [["two"], ["one", "three"]]
    assert [tuple(batch.masks.shape) for batch in batches] == [(1, 24, 16), (2, 16, 24)]


def test_training_leaves_out_the_incomplete_batch_unless_it_is_the_only_one(tiny) -> None:
    train = dataset(tiny, transform=train_transform(crop=8))
    for batch_size, sizes in ((1, [1, 1, 1]), (2, [2]), (3, [3]), (4, [3])):
        loader = TrainValData(train, train, batch_size=batch_size).train_dataloader()
        assert [len(batch.images) for batch in loader] == sizes


def test_training_order_follows_the_seed(tiny) -> None:
    def order(seed: int) -> tuple[str, ...]:
        data = TrainValData(dataset(tiny), dataset(tiny), batch_size=1, seed=seed)
        return tuple(batch.ids[0] for batch in data.train_dataloader())

    assert order(1) == order(1)
    assert len({order(seed) for seed in (1, 2, 3, 4)}) > 1


def test_validation_keeps_the_order_or_groups_by_size(tiny) -> None:
    same = TrainValData(dataset(tiny), dataset(tiny, transform=train_transform(crop=8)), batch_size=2)
    assert [batch.ids for batch in same.val_dataloader()] == [["one", "two"], ["three"]]
    grouped = TrainValData(dataset(tiny), dataset(tiny), batch_size=2, val_same_size=False)
    assert [batch.ids for batch in grouped.val_dataloader()] == [["two"], ["one", "three"]]


def test_confidence_follows_its_mask_through_the_transform(tiny) -> None:
    told = dataset(tiny, transform=train_transform(crop=20, scale=(0.7, 1.3)))
    told.confidence = lambda image_id, mask: 255 - mask
    for sample in told:
        mask, confidence = sample.masks[0], sample.confidence[0]
        assert torch.equal(confidence[mask != 255], 255 - mask[mask != 255])
    batch = next(iter(TrainValData(told, told, batch_size=2).train_dataloader()))
    known = batch.masks != 255
    assert torch.allclose(batch.confidence[known], (255 - batch.masks[known]) / 255)


def test_without_a_way_to_tell_it_no_confidence_is_there(tiny) -> None:
    plain = dataset(tiny, transform=train_transform(crop=20))
    assert next(iter(TrainValData(plain, plain, batch_size=2).train_dataloader())).confidence is None
