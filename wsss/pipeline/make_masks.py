"""Step `masks`: seeds to pseudo-masks, in parallel over images, and their scores."""

import sys
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
from rich.progress import track

from wsss.data import VOID, DataDescription, read_image, read_mask, save_mask
from wsss.errors import InputError
from wsss.masks import CRFParams, join_confident, local_labels, refine_batch, require_backend, to_labels
from wsss.metrics import confusion_matrix, iou
from wsss.pipeline.config import MasksConfig
from wsss.pipeline.make_seeds import seed_protocol, seed_threshold
from wsss.pipeline.run import Run, Step, read_manifest
from wsss.pipeline.tables import VOID_POLICY, write_iou, write_scores
from wsss.pipeline.training import device_of, keep_freed_memory, show_progress
from wsss.seeds import Seeds, load_seeds, resize_maps

GPU_BATCH = 8
# Background thresholds looked at where annotated images or an area choose one.
GRID = tuple(round(0.1 + 0.05 * i, 2) for i in range(15))


@dataclass(frozen=True)
class MaskMaker:
    """Seeds to pseudo-masks; picklable, so that worker processes can be given it.

    Attributes:
        data: where the images lie.
        seeds: folder of the seeds.
        kind: crf, confident or threshold.
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
        local = [self._labels(of_image, thresholds) for of_image in seeds]
        if self.kind != "threshold":
            images = np.stack([np.array(read_image(self.data.image_path(image_id))) for image_id in image_ids])
            num_labels = [len(of_image.classes) + 1 for of_image in seeds]
            local = refine_batch(images, local, num_labels, self.params, device=self.device)
        masks = [to_labels(labels, of_image.classes) for labels, of_image in zip(local, seeds, strict=True)]
        if self.kind != "confident":
            return masks
        return [join_confident(*np.split(of_image, 2)) for of_image in masks]

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work, which wants batches and no processes beside."""
        return self.device != "cpu" and self.kind != "threshold"

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


def masks_step(run: Run) -> Step:
    """The step's identity: its options and the seeds."""
    settings = asdict(run.config.masks)
    for option in ("jobs", "backend", "scheduler"):
        del settings[option]
    return run.step("masks", {"masks": settings}, ["seeds"], [f"{image_id}.png" for image_id in run.train_ids])


def make_masks(run: Run) -> Step:
    """Write `masks/<id>.png` for every train image and score them on the train truth if there is any."""
    config = run.config.masks
    if run.config.cam.limit_images is not None:
        raise InputError(
            "cam.limit_images: masks need the seeds of all train images; leave it out, or end with until=seeds"
        )
    if config.kind != "threshold":
        require_backend(config.crf)
    annotated = annotated_ids(run)
    step = masks_step(run)
    if step.skip(scored=run.has_train_truth):
        return step
    with step.working(), engine(config):
        maker = mask_maker(run)
        threshold, source = choose_threshold(run, maker, annotated)
        missing = [i for i in run.train_ids if not (step.folder / f"{i}.png").exists()]
        groups = _groups(maker, missing)
        _parallel(run, maker, [delayed(_write_masks)(maker, ids, threshold, step.folder) for ids in groups], "masks")
        at = {"threshold": round(threshold, 4), "threshold_from": source}
        made = {"split": run.config.data.train, "images": len(run.train_ids), **_protocol(run), **at}
        step.add_figure("masks/threshold", threshold, **made)
        if run.has_train_truth:
            score_ids = sorted({*run.score_ids} - {*annotated})
            _score(run, step, maker, score_ids, threshold, source)
    return step


def mask_maker(run: Run) -> MaskMaker:
    """The run's way from seeds to masks."""
    config = run.config.masks
    device = str(device_of(run.config)) if config.crf.backend == "torch" else "cpu"
    margins = config.fg_margin, config.bg_margin
    return MaskMaker(run.data, run.folder / "seeds", config.kind, *margins, config.crf, device)


def annotated_ids(run: Run) -> list[str]:
    """The images whose truth may choose the threshold; they are left out of the scores.

    Raises:
        InputError: if there is not enough truth.
    """
    number = run.config.masks.annotated
    if number is None:
        return []
    if not run.has_train_truth or len(run.score_ids) <= number:
        truth = len(run.score_ids) if run.has_train_truth else 0
        raise InputError(f"masks.annotated={number}: needs more than {number} train images with truth, found {truth}")
    return sorted(np.random.default_rng(run.config.seed).choice(run.score_ids, number, replace=False).tolist())


def choose_threshold(run: Run, maker: MaskMaker, annotated: Sequence[str]) -> tuple[float, str]:
    """The background threshold, and where it comes from."""
    config = run.config.masks
    if config.threshold is not None:
        return config.threshold, "given"
    if annotated:
        miou = iou(_count_all(run, maker, annotated, GRID)).mean
        best = np.flatnonzero(miou == miou.max())
        return GRID[int(best[len(best) // 2])], f"{len(annotated)} annotated images, left out"
    if config.area is not None:
        sample = run.train_ids[:: max(len(run.train_ids) // 100, 1)]
        shares = np.mean(_parallel(run, maker, [delayed(_areas)(maker, i, GRID) for i in sample], "areas"), axis=0)
        shares = np.minimum.accumulate(shares)  # foreground shrinks as the threshold rises, but for the CRF's whims
        if not shares[-1] <= config.area <= shares[0]:
            found = f"masks can have {shares[-1]:.2f} to {shares[0]:.2f}"
            raise InputError(f"masks.area={config.area:g}: {found}; name a share between these")
        return float(np.interp(-config.area, -shares, GRID)), f"area {config.area:g}, no truth"
    return seed_threshold(run), "mean Otsu, no truth"


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


def _write_masks(maker: MaskMaker, image_ids: Sequence[str], threshold: float, folder: Path) -> None:
    with one_thread():
        for image_id, masks in zip(image_ids, maker(image_ids, [threshold]), strict=True):
            save_mask(folder / f"{image_id}.png", masks[0])


def _count(maker: MaskMaker, image_id: str, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Confusion counts (T, L, L + 1) of masks that are made and not kept."""
    truth, num_labels = read_mask(maker.data.mask_path(image_id)), maker.data.num_classes + 1
    with one_thread():
        return np.stack([confusion_matrix(truth, mask, num_labels) for mask in maker([image_id], thresholds)[0]])


def _count_all(run: Run, maker: MaskMaker, image_ids: Sequence[str], thresholds: Sequence[float]) -> NDArray[np.int64]:
    counts = _parallel(
        run, maker, [delayed(_count)(maker, i, thresholds) for i in image_ids], "masks at other thresholds"
    )
    return np.sum(counts, axis=0)


def _areas(maker: MaskMaker, image_id: str, thresholds: Sequence[float]) -> NDArray[np.float64]:
    """Share of foreground at each threshold."""
    with one_thread():
        masks = maker([image_id], thresholds)[0]
    return ((masks > 0) & (masks != VOID)).mean(axis=(1, 2))


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


def _parallel(run: Run, maker: MaskMaker, tasks: Sequence[Any], title: str) -> list[Any]:
    if not tasks:
        return []
    hidden = not show_progress(run.config)
    try:
        return list(track(_results(run, maker, tasks), title, total=len(tasks), disable=hidden, transient=True))
    except (TerminatedWorkerError, *_dask_errors()) as error:
        raise InputError(
            f"{title}: a worker process was killed, by want of memory perhaps; fewer need less (masks.jobs=1), "
            "and the same command goes on from here"
        ) from error


def _results(run: Run, maker: MaskMaker, tasks: Sequence[Any]) -> Iterable[Any]:
    """What the tasks return, in their order; on GPUs one after the other."""
    if maker.on_gpu:
        return Parallel(n_jobs=1)(tasks)
    if run.config.masks.backend == "dask":
        from distributed import default_client

        # Not by joblib, which would wait for ever for a task that has ended one worker after another.
        client = default_client()
        futures = [client.submit(work, *args, **options, pure=False) for work, args, options in tasks]
        return (future.result() for future in futures)
    in_turn = get_active_backend()[0].supports_return_generator  # or all at once, at the end
    return Parallel(return_as="generator" if in_turn else "list")(tasks)


def _dask_errors() -> tuple[type[Exception], ...]:
    """What Dask raises for a task that has ended one worker after another."""
    if "distributed" not in sys.modules:
        return ()
    from distributed.scheduler import KilledWorker

    return (KilledWorker,)


def _protocol(run: Run) -> dict[str, object]:
    """How the masks were made."""
    config = run.config.masks
    crf = "none" if config.kind == "threshold" else f"{config.crf.iterations} iterations"
    return {"method": config.kind, "crf": crf, **seed_protocol(run)}


def describe_masks(run: Run) -> str:
    """The run's masks in a few words, for the protocols of what is trained on them."""
    path = run.folder / "masks" / "manifest.json"
    protocol = read_manifest(path)["protocols"].get("masks/threshold") if path.exists() else None
    if protocol is None:
        return "pseudo-masks"
    threshold = f"threshold {protocol['threshold']} ({protocol['threshold_from']})"
    crf = "" if protocol["crf"] == "none" else f", CRF {protocol['crf']}"
    return f"pseudo-masks ({protocol['method']} of {protocol['maps']}, {threshold}{crf})"


def _score(run: Run, step: Step, maker: MaskMaker, image_ids: Sequence[str], threshold: float, source: str) -> None:
    config = run.config.masks
    num_labels = run.data.num_classes + 1
    confusion = np.zeros((num_labels, num_labels + 1), np.int64)
    covered = pixels = 0
    for image_id in image_ids:
        mask = read_mask(step.folder / f"{image_id}.png")
        confusion += confusion_matrix(read_mask(run.data.mask_path(image_id)), mask, num_labels)
        covered += int((mask != VOID).sum())
        pixels += mask.size
    scores = iou(confusion)
    protocol = {
        "scored": "masks",
        "split": run.scored_split,
        "images": len(image_ids),
        "void": VOID_POLICY,
        **_protocol(run),
    }
    at = {"threshold": round(threshold, 4), "threshold_from": source}
    step.add_figure("masks/miou", 100 * float(scores.mean), **protocol, **at)
    step.add_figure("masks/coverage", covered / pixels, **protocol, **at)
    write_iou(step.folder / "iou.csv", run, scores.per_label, run.stamp(**protocol, **at))
    if config.oracle:
        others = sorted({round(min(max(threshold + offset, 0.0), 0.99), 4) for offset in config.oracle if offset})
        miou = iou(_count_all(run, maker, image_ids, others)).mean
        curve = dict(zip(others, miou.tolist(), strict=True)) | {threshold: float(scores.mean)}
        best = max(curve, key=lambda t: curve[t])
        source = f"oracle, the best of {len(curve)}"
        at_best = {"threshold": round(best, 4), "threshold_from": source}
        step.add_figure("masks/oracle_miou", 100 * curve[best], **protocol, **at_best)
        step.add_figure("masks/oracle_gap", 100 * (curve[best] - float(scores.mean)), **protocol, **at_best)
        rows = [(t, 100 * m) for t, m in sorted(curve.items())]
        write_scores(step.folder / "curve.csv", ["threshold", "miou"], rows, run.stamp(**protocol))
