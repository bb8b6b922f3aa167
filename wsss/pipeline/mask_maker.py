"""Masks of any images from their seeds, in parallel: what steps that make masks share."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from wsss.data import DataDescription, read_image, save_mask
from wsss.errors import InputError, WorkerDiedError
from wsss.masks import CRFParams, graph_cut_labels, join_confident, local_labels, refine_batch, to_labels
from wsss.memory import by_halves
from wsss.pipeline.config import MasksConfig
from wsss.pipeline.run import Run
from wsss.pipeline.training import device_of, keep_freed_memory
from wsss.progress import follow
from wsss.seeds import Seeds, load_seeds, resize_maps

GPU_BATCH = 8
# Kinds that sharpen labels with a CRF.
CRF_KINDS = ("crf", "confident")


@dataclass(frozen=True)
class MaskMaker:
    """Seeds to pseudo-masks; picklable, so that worker processes can be given it.

    Attributes:
        data: where the images lie.
        seeds: folder of the seeds.
        kind: crf, confident, graphcut or threshold.
        fg_margin: confident: added to the threshold for the foreground pass.
        bg_margin: confident: subtracted from it for the background pass.
        params: the CRF's kernels and back end.
        device: where the torch back end works.
    """

    data: DataDescription
    seeds: Path
    kind: str
    fg_margin: float
    bg_margin: float
    params: CRFParams
    device: str

    def __call__(self, image_ids: Sequence[str], thresholds: Sequence[float]) -> list[NDArray[np.uint8]]:
        """Label maps (T, H, W) of images of one size at each background threshold; all share what the CRF builds."""
        seeds = [load_seeds(self.seeds / f"{image_id}.npz") for image_id in image_ids]
        if self.kind == "graphcut":
            return [self._cut(*one, thresholds) for one in zip(image_ids, seeds, strict=True)]
        local = [self._labels(of_image, thresholds) for of_image in seeds]
        if self.kind in CRF_KINDS:
            images = np.stack([self._pixels(image_id) for image_id in image_ids])
            num_labels = [len(of_image.classes) + 1 for of_image in seeds]
            local = refine_batch(images, local, num_labels, self.params, device=self.device)
        masks = [to_labels(labels, of_image.classes) for labels, of_image in zip(local, seeds, strict=True)]
        if self.kind != "confident":
            return masks
        return [join_confident(*np.split(of_image, 2)) for of_image in masks]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work, which wants batches and no processes beside."""
        return self.device != "cpu" and self.kind in CRF_KINDS

    def _pixels(self, image_id: str) -> NDArray[np.uint8]:
        return np.array(read_image(self.data.image_path(image_id)))

    def _cut(self, image_id: str, seeds: Seeds, thresholds: Sequence[float]) -> NDArray[np.uint8]:
        """Label maps (T, H, W) of graph cuts."""
        if not len(seeds.classes):
            return np.zeros((len(thresholds), *seeds.size), np.uint8)
        image, maps = self._pixels(image_id), resize_maps(seeds.maps, seeds.size)
        local = np.stack([graph_cut_labels(image, maps, threshold) for threshold in thresholds])
        return to_labels(local, seeds.classes)

    def _labels(self, seeds: Seeds, thresholds: Sequence[float]) -> NDArray[np.uint8]:
        """What the CRF starts from, (T, H, W); confident: foreground passes, then background passes."""
        cuts = list(thresholds)
        if self.kind == "confident":
            high = [min(t + self.fg_margin, 1.0) for t in thresholds]
            cuts = high + [max(t - self.bg_margin, 0.0) for t in thresholds]
        if not len(seeds.classes):
            return np.zeros((len(cuts), *seeds.size), np.uint8)
        maps = resize_maps(seeds.maps, seeds.size)
        return np.stack([local_labels(maps, cut) for cut in cuts])


def mask_maker(run: Run, seeds: str = "seeds") -> MaskMaker:
    """The run's way from the seeds of a step to masks."""
    config = run.config.masks
    device = str(device_of(run.config)) if config.crf.backend == "torch" else "cpu"
    margins = config.fg_margin, config.bg_margin
    return MaskMaker(run.data, run.folder / seeds, config.kind, *margins, config.crf, device)


def crf_settings(params: CRFParams) -> dict[str, object]:
    """What masks depend on of a CRF: all but the back end, which computes the same."""
    return {option: value for option, value in asdict(params).items() if option != "backend"}


def write_masks(run: Run, maker: MaskMaker, image_ids: Sequence[str], threshold: float, folder: Path) -> None:
    """Write the label maps `<id>.png` that are not there yet."""
    missing = [image_id for image_id in image_ids if not (folder / f"{image_id}.png").exists()]
    tasks = [delayed(_write)(maker, ids, threshold, folder) for ids in _groups(maker, missing)]
    deque(run_tasks(run, maker, tasks, folder.name), maxlen=0)


def _write(maker: MaskMaker, image_ids: Sequence[str], threshold: float, folder: Path) -> None:
    with one_thread():
        made = by_halves(lambda ids: maker(ids, [threshold]), image_ids)
        for image_id, masks in zip(image_ids, made, strict=True):
            save_mask(folder / f"{image_id}.png", masks[0])


def _groups(maker: MaskMaker, image_ids: Sequence[str]) -> list[list[str]]:
    """Images that go through the CRF together: alone on CPUs, in batches of one size on GPUs."""
    if not maker.on_gpu:
        return [[image_id] for image_id in image_ids]
    size = {image_id: load_seeds(maker.seeds / f"{image_id}.npz").size for image_id in image_ids}
    groups = []
    for _, of_size in groupby(sorted(image_ids, key=lambda i: size[i]), key=lambda i: size[i]):
        ids = list(of_size)
        groups += [ids[start : start + GPU_BATCH] for start in range(0, len(ids), GPU_BATCH)]
    return groups


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread: as many processes as cores share them, and sums do not depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def engine(config: MasksConfig) -> Iterator[None]:
    """Who does the work of a block: a back end of joblib, or a Dask cluster.

    Raises:
        InputError: for a back end that joblib does not have, or a scheduler that does not answer.
    """
    if config.backend != "dask":
        with parallel_config(backend=config.backend, n_jobs=config.jobs):
            yield
        return
    try:
        from dask.distributed import Client
    except ModuleNotFoundError:
        raise InputError("masks.backend=dask needs `pip install distributed`; or choose masks.backend=loky") from None
    jobs = config.jobs if config.jobs > 0 else cpu_count()
    local = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    try:
        client = Client(config.scheduler) if config.scheduler else Client(**local)
    except (OSError, ValueError) as error:
        raise InputError(f"masks.scheduler={config.scheduler}: no Dask scheduler there ({error})") from error
    with client:
        yield


def run_tasks(run: Run, maker: MaskMaker, tasks: Sequence[Any], title: str) -> Iterator[Any]:
    """What the tasks return, in their order, as it comes; by several workers, on GPUs one after the other.

    Raises:
        WorkerDiedError: if a worker was killed.
    """
    return results_of(run, tasks, title, total=len(tasks), alone=maker.on_gpu)


def results_of(run: Run, tasks: Iterable[Any], title: str, *, total: int, alone: bool = False) -> Iterator[Any]:
    """As `run_tasks`, of tasks that are perhaps still to be made; `alone`: by this process."""
    if not total:
        return
    try:
        yield from follow(_results(run, tasks, alone=alone), title, total=total, shown=run.config.trainer.progress)
    except (TerminatedWorkerError, *_dask_errors()) as error:
        raise WorkerDiedError(
            f"{title}: a worker process was killed, by want of memory perhaps; fewer need less (masks.jobs=1), "
            "and the same command goes on from here"
        ) from error


def _results(run: Run, tasks: Iterable[Any], *, alone: bool) -> Iterable[Any]:
    if alone:
        return Parallel(n_jobs=1, return_as="generator")(tasks)
    if run.config.masks.backend == "dask":
        return _by_dask(tasks)
    in_turn = get_active_backend()[0].supports_return_generator  # or all at once, at the end
    return Parallel(return_as="generator" if in_turn else "list")(tasks)


def _by_dask(tasks: Iterable[Any]) -> Iterator[Any]:
    """Not by joblib, which would wait for ever for a task that has ended one worker after another."""
    from distributed import default_client

    client = default_client()
    most = 4 * max(sum(client.ncores().values()), 1)  # under way at a time: what they are given lies in memory
    waiting: deque[Any] = deque()
    for work, args, options in tasks:
        waiting.append(client.submit(work, *args, **options, pure=False))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _dask_errors() -> tuple[type[Exception], ...]:
    """What Dask raises for a task that has ended one worker after another."""
    if "distributed" not in sys.modules:
        return ()
    from distributed.scheduler import KilledWorker

    return (KilledWorker,)
