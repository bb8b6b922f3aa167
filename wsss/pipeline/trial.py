"""The steps of a run, done on a few images in a folder of their own and timed: what a plan is made of.

Everything here runs the steps' own functions with the run's options. What differs: networks start from random weights
(none is downloaded) and hardly learn, trainings last a few steps, and one device does the work.
"""

import copy
import itertools
import logging
import shutil
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch

from wsss.data import image_size, save_mask
from wsss.models import ReCAMClassifier
from wsss.pipeline.config import CallbacksConfig, Config, DataConfig, LoggerConfig
from wsss.pipeline.cost_model import (
    PROBE,
    SAMPLE,
    Files,
    Memory,
    TrainingCost,
    WorkCost,
    choose_trial,
    next_count,
    slope,
)
from wsss.pipeline.drawing import original_sizes, seed_bytes, seed_ids
from wsss.pipeline.meter import MemoryMeter, TrainingClock, free_memory
from wsss.pipeline.networks import load_classifier, save_classifier
from wsss.pipeline.run import Run
from wsss.pipeline.step import Step
from wsss.pipeline.training import device_of, watched_by

log = logging.getLogger(__name__)

DRAWN_AT_ONCE = 4  # images of a batch when drawing is measured on a CPU
LOG_ROW = 150  # bytes that ten steps, or a look at val, add to the loggers' files
TRAININGS = "classifier", "recam", "masks.relations", "segmenter"


@dataclass(frozen=True)
class _Trained:
    """A training that was watched."""

    batch: int
    images: int
    val_images: int
    clock: TrainingClock
    meter: MemoryMeter
    before: float
    after: float


class Trial:
    """A run on a few images, in a folder that its maker throws away.

    Args:
        config: of the run that is planned.
        data: the data set, or one that stands in for it.
        outputs: folder of the trial.
        train_ids: a few of the train images, so that those scored are spread evenly among them.
        scored: of these, those that are scored.
        val_ids: a few of the val images.

    Attributes:
        ids: train images that have outputs of all steps done so far.
        notes: what could not be measured as it will be.
    """

    def __init__(
        self,
        config: Config,
        data: DataConfig,
        outputs: Path,
        *,
        train_ids: Sequence[str],
        scored: Sequence[str],
        val_ids: Sequence[str],
    ) -> None:
        self._base = Run(trial_config(config, data, outputs))
        self._scored = {*scored}
        self._val_ids = list(val_ids)
        self._budget = config.plan.seconds
        self.folder = self._base.folder
        self.ids = list(train_ids)
        self.notes: list[str] = []

    def seed_bytes(self) -> float:
        """What an image's seeds take, uncompressed."""
        run = self._run(self.ids, self._val_ids)
        return seed_bytes(run, original_sizes(run, seed_ids(run))) / len(self.ids)

    def check_data(self) -> float:
        """Seconds that an image takes to be looked at before the first step."""
        run = self._base = self._run(self.ids, self._val_ids)
        start = time.monotonic()
        with _quiet():
            run.check_data()  # remembered by all copies
        return (time.monotonic() - start) / (len(self.ids) + len(self._val_ids))

    def training(
        self, name: str, work: Callable[[Run], Step], group: str, *, images: int, is_finished: bool = False
    ) -> TrainingCost:
        """Measure a training.

        Args:
            name: of the step.
            work: does it.
            group: its group of options.
            images: of the train split, for the size of the logs.
            is_finished: whether only its model is wanted.
        """
        log.info("measuring %s", name)
        batch_size = attrgetter(f"{group}.batch_size")(self._base.config)
        probe = self._train(name, work, group, batch=min(batch_size, PROBE), steps=PROBE, val=PROBE)
        if is_finished:
            return self._cost(probe, probe, name, batch_size, images)
        ram, gpu = probe.meter.added
        device = device_of(self._base.config)
        batch, steps = choose_trial(
            image_seconds=_step_seconds(probe) / probe.batch,
            image_bytes=(gpu if device.type == "cuda" else ram) / probe.batch,
            batch_size=batch_size,
            budget=self._budget,
            free=free_memory(device),
        )
        if batch < batch_size:
            self.notes.append(f"{name}: measured with {batch} images a step instead of {batch_size}, and scaled")
        looked_at = probe.clock.val_images or PROBE
        in_time = int(self._budget / 2 * looked_at / max(probe.clock.val_seconds, 1e-9))
        trained = self._train(name, work, group, batch=batch, steps=steps, val=min(max(in_time, PROBE), SAMPLE))
        return self._cost(trained, probe, name, batch_size, images)

    def work(
        self,
        name: str,
        work: Callable[[Run], Step | None],
        resource: str,
        *,
        figure: str | None = None,
        is_finished: bool = False,
    ) -> WorkCost:
        """Measure a step that goes through the train images; what comes after builds on those of its last run.

        A batch of drawing costs what its image of most classes does. Whole data sets fill batches with images of as
        many classes, a few images cannot: small batches, which on CPUs are as fast, come closer.

        Args:
            name: of the step.
            work: does it.
            resource: what it waits for, see `wsss.pipeline.cost_model.Part`.
            figure: where it tells what the resource takes of an image; the rest is one core's.
            is_finished: whether only its outputs are wanted.
        """
        log.info("measuring %s", name)
        runs: list[tuple[int, float]] = []
        per_image: float | None = None
        while number := (2 * PROBE if is_finished else next_count(runs, budget=self._budget)):
            ids = self.ids[:number]
            if runs and (is_finished or (len(runs) > 1 and len(ids) == runs[-1][0])):  # there are no more
                break
            self._clear(name)
            run = self._run(ids, self._val_ids)
            is_drawing = resource == "drawing" and device_of(run.config).type == "cpu"
            batch_size = run.config.cam.batch_size
            if is_drawing:
                run.config.cam.batch_size = min(batch_size, DRAWN_AT_ONCE)
            start = time.monotonic()
            with MemoryMeter() as meter, _quiet():
                step = work(run)
            runs.append((len(ids), time.monotonic() - start))
            per_image = None if step is None or figure is None else step.figures.get(figure)
        self.ids = ids = self.ids[: runs[-1][0]]
        seconds, start = slope(runs)
        own = seconds if per_image is None else min(per_image, seconds)
        more = batch_size / min(batch_size, DRAWN_AT_ONCE) - 1 if is_drawing else 0.0
        return WorkCost(
            image=own,
            resource=resource,
            serial_image=seconds - own,
            start=start,
            memory=Memory(meter.peak.ram + more * max(meter.added.ram, 0), meter.peak.gpu),
            files=self._files(name, len(ids), 1),
        )

    def once(self, name: str, work: Callable[[Run], object]) -> WorkCost:
        """Measure a step that costs the same for any number of images."""
        log.info("measuring %s", name)
        start = time.monotonic()
        with MemoryMeter() as meter, _quiet():
            work(self._run(self.ids, self._val_ids))
        seconds = time.monotonic() - start
        size = sum(path.stat().st_size for path in (self.folder / name).rglob("*") if path.is_file())
        return WorkCost(image=0.0, resource="core", start=seconds, memory=meter.peak, files=Files(fixed=size))

    def make_networks_see(self, name: str) -> None:
        """Make the maps of a step's network dense, as those of trained ones are: zeros would compress too well."""
        path = self.folder / name / "model.pt"
        network = load_classifier(path)
        with torch.no_grad():
            weight = network.fc1.weight.abs_()
            if isinstance(network, ReCAMClassifier):
                network.fc2.weight.copy_(weight)
        save_classifier(self._base, path, network)

    def make_masks_teach(self) -> None:
        """Put something into each mask: those of networks that know nothing may be background alone."""
        for image_id in self.ids:
            path = self.folder / "masks" / f"{image_id}.png"
            width, height = image_size(self._base.data.image_path(image_id))
            mask = np.zeros((height, width), np.uint8)
            mask[:, mask.shape[1] // 2 :] = 1
            save_mask(path, mask)

    def _run(self, train_ids: Sequence[str], val_ids: Sequence[str]) -> Run:
        """The trial with these images."""
        run = copy.copy(self._base)
        run.config = copy.deepcopy(self._base.config)
        run.train_ids, run.val_ids = list(train_ids), list(val_ids)
        run.truth_ids = run.score_ids = [i for i in dict.fromkeys(train_ids) if i in self._scored]
        for known in ("train_labels", "val_labels", "has_train_truth", "has_val_truth"):
            run.__dict__.pop(known, None)
        return run

    def _clear(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def _train(
        self, name: str, work: Callable[[Run], Step], group: str, *, batch: int, steps: int, val: int
    ) -> _Trained:
        ids = list(itertools.islice(itertools.cycle(self.ids), batch * steps))
        run = self._run(ids, self._val_ids[:val])
        attrgetter(group)(run.config).batch_size = batch
        self._clear(name)
        clock = TrainingClock()
        start = time.monotonic()
        with MemoryMeter() as meter, watched_by(clock), _quiet():
            work(run)
        end = time.monotonic()
        return _Trained(batch, len(ids), len(run.val_ids), clock, meter, clock.begun - start, end - clock.ended)

    def _cost(self, trained: _Trained, probe: _Trained, name: str, batch_size: int, images: int) -> TrainingCost:
        clock, step = trained.clock, _step_seconds(trained)
        val_image = clock.val_seconds / clock.val_images if clock.val_images else 0.0
        within = clock.ended - clock.begun - len(clock.steps) * step - clock.val_seconds - sum(clock.epochs)
        start = max(within, 0.0)
        of_images: dict[str, float] = {}
        if name == "relations":
            of_images = {
                "prepared_image": trained.before / trained.images,
                "image_after": trained.after / trained.images,
            }
        elif name == "segmenter":
            predicted = self._prediction_seconds(trained, probe, val_image)
            start += trained.before + trained.after - trained.val_images * predicted
            of_images = {"val_image_after": predicted}
        else:
            start += trained.before + trained.after
        files = self._files(name, len({*self.ids[: trained.images]}), trained.val_images)
        rows = max(images // batch_size, 1) / 10 + 2
        return TrainingCost(
            image=step / trained.batch,
            val_image=val_image,
            epoch=statistics.mean(clock.epochs),
            start=start,
            **of_images,
            batch=trained.batch,
            memory=_at_batch(trained, probe, batch_size),
            files=replace(files, epoch=rows * LOG_ROW),
        )

    def _prediction_seconds(self, trained: _Trained, probe: _Trained, val_image: float) -> float:
        """Of a val image after the training: from the two trainings, which differ in their number."""
        mean, more = trained.after / trained.val_images, trained.val_images - probe.val_images
        if more <= 0:
            return mean
        # The probe's first look is cold; a prediction takes no less than an image in a look at val.
        return min(max((trained.after - probe.after) / more, val_image), mean)

    def _files(self, name: str, num_train: int, num_val: int) -> Files:
        """What a step has left, by what it belongs to."""
        val_image, image, fixed = bytes_of(self.folder / name, {*self._val_ids}, {*self.ids})
        return Files(image=image / num_train, val_image=val_image / num_val, fixed=fixed)


def bytes_of(folder: Path, *groups: Collection[str]) -> list[int]:
    """How large the files of each group of images are, wherever they lie in a folder; last, all others."""
    sizes = [0] * (len(groups) + 1)
    for path in filter(Path.is_file, folder.rglob("*")):
        parts = path.relative_to(folder).with_suffix("").parts
        names = {"/".join(parts[at:]) for at in range(len(parts))}  # ids may have folders, as their photographs
        group = next((at for at, ids in enumerate(groups) if not names.isdisjoint(ids)), len(groups))
        sizes[group] += path.stat().st_size
    return sizes


def trial_config(config: Config, data: DataConfig, outputs: Path) -> Config:
    """The options of a trial: the run's, but for what makes it short and keeps it to itself."""
    trial = copy.deepcopy(config)
    trial.data = replace(data, skip_bad=False)
    trial.outputs, trial.run, trial.overwrite, trial.reuse = str(outputs), "trial", True, False
    trial.limit_images = trial.cam.limit_images = None
    for name in TRAININGS:
        options = attrgetter(name)(trial)
        options.epochs, options.optimizer.lr = 1, 1e-9  # nothing can diverge
    trial.masks.annotated = trial.masks.area = None
    trial.backbone.weights = "none"
    if trial.segmenter.name == "smp":
        trial.segmenter.encoder_weights = "none"
    else:
        trial.segmenter.backbone.weights = "none"
    trial.trainer.val_every, trial.trainer.progress, trial.trainer.devices = 1, False, "1"
    trial.trainer.profiler, trial.callbacks = None, CallbacksConfig()
    trial.logger = LoggerConfig(csv=config.logger.csv, tensorboard=config.logger.tensorboard)
    return trial


def spread(ids: Sequence[str], number: int) -> list[str]:
    """Some of the ids, evenly apart."""
    if len(ids) <= number:
        return list(ids)
    return [ids[int((i + 0.5) * len(ids) / number)] for i in range(number)]


def sample_ids(ids: Sequence[str], scored: Sequence[str], number: int) -> tuple[list[str], list[str]]:
    """Some ids of which about the same share is scored, at the beginning too; and those scored."""
    number = min(number, len(ids))
    num_scored = min(max(round(number * len(scored) / len(ids)), min(len(scored), 1)), len(scored))
    among = {*scored}
    groups = spread(scored, num_scored), spread([i for i in ids if i not in among], number - num_scored)
    placed = [((place + 0.5) / len(group), i) for group in groups for place, i in enumerate(group)]
    return [i for _, i in sorted(placed)], groups[0]


def _step_seconds(trained: _Trained) -> float:
    """Of a step, when it is warm."""
    return statistics.median(trained.clock.steps[1:] or trained.clock.steps)


def _at_batch(trained: _Trained, probe: _Trained, batch_size: int) -> Memory:
    """Peaks with the whole batch, on the line through the two trainings where it was not measured."""
    if trained.batch == batch_size:
        return trained.meter.peak
    more = batch_size - trained.batch
    if trained.batch > probe.batch:
        apart = trained.batch - probe.batch
        rates = [(b - a) / apart for a, b in zip(probe.meter.added, trained.meter.added, strict=True)]
    else:
        rates = [added / trained.batch for added in trained.meter.added]
    ram, gpu = (peak + more * max(rate, 0.0) for peak, rate in zip(trained.meter.peak, rates, strict=True))
    return Memory(ram, gpu)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the steps say of themselves is of no interest."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
