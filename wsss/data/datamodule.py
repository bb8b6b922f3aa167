"""Loaders: shuffled crops for training, whole images grouped by size for everything else."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from math import ceil
from multiprocessing import get_all_start_methods
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from wsss.data.dataset import Draw, ImageDataset, Sample, collate
from wsss.photographs import image_size


class TrainValData(pl.LightningDataModule):
    """Training and validation loaders of one step.

    Args:
        train: data set with a training transform of one output size.
        val: data set whose items may differ in size; batched by size unless `val_same_size`.
        batch_size: images a step, of all processes together.
        num_workers: loader processes; 0 loads in the main process.
        val_same_size: whether the validation transform makes all sizes equal.
        shard: this process's place among how many; each trains on its share of every batch, and looks at its share of
            the val images.
        seed: of the order and the augmentations of the training images.
    """

    def __init__(
        self,
        train: ImageDataset,
        val: ImageDataset,
        *,
        batch_size: int,
        num_workers: int = 0,
        val_same_size: bool = True,
        shard: tuple[int, int] = (0, 1),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.shard, self.seed = shard, seed
        self.batch_size, self.num_workers = batch_size, num_workers
        self.val_same_size = val_same_size

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled; the last, incomplete batch is left out unless it is the only one."""
        drop_last = len(self.train) >= self.batch_size
        return _loader(
            self.train,
            self.num_workers,
            batch_size=max(self.batch_size // self.shard[1], 1),
            drop_last=drop_last,
            sampler=Draws(self.train, self.shard, seed=self.seed, drop_last=drop_last),
        )

    def val_dataloader(self) -> "DataLoader[Sample] | EqualLengths":
        """In order, or in order of size."""
        rank, world = self.shard
        if self.val_same_size:
            batches = _chunks(range(len(self.val)), self.batch_size)
        else:
            batches = size_batches(self.val, self.batch_size)
        loader = _loader(self.val, self.num_workers, batch_sampler=SizeBatches(batches[rank::world]))
        return loader if world == 1 else EqualLengths(loader, ceil(len(batches) / world))


class Draws(DistributedSampler[Any]):
    """A process's share of the images in a new order each epoch.

    Order and augmentations follow from seed, epoch and image alone: neither what else draws random numbers, nor the
    number of loader processes, nor an interruption changes them; a step's images are the same however many share it.

    Args:
        dataset: what is drawn from.
        shard: this process's place among how many.
        seed: of the run.
        drop_last: see to equal shares by leaving images out; else some come twice.
    """

    def __init__(self, dataset: ImageDataset, shard: tuple[int, int], *, seed: int, drop_last: bool) -> None:
        rank, world = shard
        # Seeds far apart: the base class adds the epoch, and seed 1 would begin where seed 0 goes on.
        super().__init__(dataset, world, rank, seed=derived_seed(seed), drop_last=drop_last)

    def __iter__(self) -> Iterator[Draw]:
        return (Draw(item, derived_seed(self.seed, self.epoch, item)) for item in super().__iter__())


def derived_seed(*numbers: int) -> int:
    """A seed, 0 … 2³² − 1, unlike that of any other numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class EqualLengths:
    """A loader that gives the same number of batches in all processes, which go through the network in step.

    A process that has had its own sees an image again, in batches without ids, which count for no figure.

    Args:
        loader: the process's own batches.
        length: the most that a process has.
    """

    def __init__(self, loader: DataLoader[Sample], length: int) -> None:
        self.loader, self.length = loader, length

    def __iter__(self) -> Iterator[Sample]:
        yield from self.loader
        for _ in range(self.length - len(self.loader)):
            yield collate([self.loader.dataset[0]])._replace(ids=[])

    def __len__(self) -> int:
        return self.length


def size_loader(
    dataset: ImageDataset,
    *,
    batch_size: int,
    num_workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    wanted: Collection[str] | None = None,
) -> DataLoader[Sample]:
    """Loader over whole images in batches of one size, which depend on the data alone.

    What a network makes of an image depends, in the last bit, on how many are in its batch. So batches are the same
    whatever is wanted, and however many processes share them.

    Args:
        dataset: all images.
        batch_size: images of a batch at most.
        num_workers: loader processes.
        shard: (i, n): batches i, i + n, i + 2 n … are loaded.
        wanted: ids, of which each batch that is loaded has at least one; default: all.
    """
    batches = size_batches(dataset, batch_size)
    if wanted is not None:
        batches = [batch for batch in batches if any(dataset.ids[index] in wanted for index in batch)]
    return _loader(dataset, num_workers, batch_sampler=SizeBatches(batches[shard[0] :: shard[1]]))


def _loader(dataset: ImageDataset, num_workers: int, **options: Any) -> DataLoader[Sample]:
    """Processes live on from epoch to epoch; on machines with a GPU batches are put where it can fetch them."""
    return DataLoader(
        dataset,
        collate_fn=collate,
        **loader_processes(num_workers),
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each epoch takes a number from those of the training
        **options,
    )


def loader_processes(number: int) -> dict[str, Any]:
    """Options of a DataLoader with so many processes, started in the platform's own way.

    In a process of joblib's, as sweeps have them, torch would take joblib's way, which loaders cannot use.
    """
    return {"num_workers": number, "multiprocessing_context": get_all_start_methods()[0] if number else None}


class SizeBatches(Sampler[list[int]]):
    """Batches known beforehand (Lightning's predict loop refuses a plain list)."""

    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def size_batches(dataset: ImageDataset, batch_size: int) -> list[list[int]]:
    """Indices grouped by image size (read from the headers), at most `batch_size` in a group.

    Within a size, images come by their number of present classes: gradient maps need as many backward passes as the
    image of the batch with the most classes.
    """
    num_present = dataset.labels.sum(dim=1).tolist()
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image_id in enumerate(dataset.ids):
        groups[image_size(dataset.description.image_path(image_id))].append(index)
    return [
        chunk
        for _, group in sorted(groups.items())
        for chunk in _chunks(sorted(group, key=lambda i: num_present[i]), batch_size)
    ]


def _chunks(items: Sequence[int], size: int) -> list[list[int]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]
