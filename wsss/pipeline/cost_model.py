"""What a run will cost, as arithmetic: measured costs of one image, times how often it is paid, over the hardware.

Nothing here measures or reads a file; docs/planning.md tells the model in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wsss.pipeline.config import HardwareConfig

SAMPLE = 16  # images that are measured at most
PROBE = 2  # images of the first looks, by which the size of the measurement is chosen
FITS = 0.8  # share of the free memory that a measured batch may take
STEPS = 2, 6  # least and most optimiser steps that are measured; the first is warm-up


@dataclass(frozen=True)
class Facts:
    """How large a data set is.

    Attributes:
        images: of the train split.
        truth: of these, those with true masks, which the twin learns from.
        scored: of these, those that seeds and masks are scored on.
        val_images: of the val split.
        has_val_truth: whether segmenters are scored.
        size: mean height and width in pixels.
        num_classes: without background.
        classes_per_image: mean number of image-level labels.
        source: where this is known from.
    """

    images: int
    truth: int
    scored: int
    val_images: int
    has_val_truth: bool
    size: tuple[int, int]
    num_classes: int
    classes_per_image: float
    source: str


class Memory(NamedTuple):
    """Peaks in bytes."""

    ram: float = 0.0
    gpu: float = 0.0


NONE = Memory()


@dataclass(frozen=True)
class Files:
    """Bytes that a step leaves: for each train image, each val image, each epoch, and those that are always there."""

    image: float = 0.0
    val_image: float = 0.0
    fixed: float = 0.0
    epoch: float = 0.0

    def total(self, images: int, val_images: int, epochs: int = 1) -> float:
        """All of them."""
        return self.image * images + self.val_image * val_images + self.fixed + self.epoch * epochs


@dataclass(frozen=True)
class TrainingCost:
    """Seconds of a training.

    Attributes:
        image: forward, backward, update and loading, of an image.
        val_image: of an image when the val split is looked at.
        epoch: what ends an epoch, above all its checkpoint.
        start: once.
        prepared_image: before the training, for each train image (labels to learn from, by the CRF).
        image_after: after it, for each train image.
        val_image_after: after it, for each val image: its prediction.
        batch: images a step when this was measured.
        memory: peaks.
        files: what it leaves.
    """

    image: float
    val_image: float = 0.0
    epoch: float = 0.0
    start: float = 0.0
    prepared_image: float = 0.0
    image_after: float = 0.0
    val_image_after: float = 0.0
    batch: int = 1
    memory: Memory = NONE
    files: Files = field(default_factory=Files)


@dataclass(frozen=True)
class WorkCost:
    """Seconds of a step that goes through the train images once.

    Attributes:
        image: what the resource works at an image.
        resource: see `Part`.
        serial_image: what one core does for an image besides.
        start: once.
        memory: peaks.
        files: what it leaves.
    """

    image: float
    resource: str
    serial_image: float = 0.0
    start: float = 0.0
    memory: Memory = NONE
    files: Files = field(default_factory=Files)


class Part(NamedTuple):
    """A share of a step's time.

    `resource` is what it waits for: `training` and `drawing` (networks, spread over all devices), `inference` (a
    network on one device), `cores` (processes on all cores), `core` (one), `start` (the same everywhere).
    """

    what: str
    number: float
    seconds: float
    resource: str


@dataclass(frozen=True)
class Row:
    """A step of the plan.

    Attributes:
        step: its name.
        what: images × epochs, in words.
        parts: its time on the machine that was measured.
        memory: peaks.
        disk: bytes.
        scales: what it grows with, and what divides it.
        finished: whether the run has it already, so that it costs nothing.
    """

    step: str
    what: str
    parts: Sequence[Part]
    memory: Memory
    disk: float
    scales: str
    finished: bool = False


def training_parts(
    cost: TrainingCost,
    *,
    images: int,
    val_images: int,
    epochs: int,
    batch_size: int,
    val_every: int = 1,
    validates_at_end: bool = False,
) -> list[Part]:
    """Time of a training.

    Args:
        cost: as measured.
        images: of the train split; the last, incomplete batch of an epoch is left out.
        val_images: those looked at.
        epochs: how long.
        batch_size: images a step.
        val_every: epochs between two looks at the val split.
        validates_at_end: whether the last epoch's figures are always taken.
    """
    seen = images // batch_size * batch_size or images
    looks = epochs // val_every + (validates_at_end and epochs % val_every > 0)
    return [
        Part("start", 1, cost.start, "start"),
        Part("labels to learn from", images, cost.prepared_image, "cores"),
        Part("training", epochs * seen, cost.image, "training"),
        Part("looks at val", looks * val_images, cost.val_image, "training"),
        Part("checkpoints", epochs, cost.epoch, "start"),
        Part("after the training", images, cost.image_after, "inference"),
        Part("predictions", val_images, cost.val_image_after, "inference"),
    ]


def work_parts(cost: WorkCost, *, images: int) -> list[Part]:
    """Time of a step that goes through the train images once."""
    return [
        Part("start", 1, cost.start, "start"),
        Part("images", images, cost.image, cost.resource),
        Part("files and scores", images, cost.serial_image, "core"),
    ]


def seconds_on(hardware: HardwareConfig, parts: Sequence[Part], *, cores: int) -> float:
    """Time of a step's parts on some hardware.

    Args:
        hardware: ratios to the machine that was measured.
        parts: times there.
        cores: cores there.
    """
    networks, inference = hardware.training_speed * hardware.devices, hardware.inference_speed
    speed = {
        "training": networks,
        "drawing": inference * hardware.devices,
        "inference": inference,
        "cores": hardware.cpu_speed * (hardware.cores or cores) / cores,
        "core": hardware.cpu_speed,
        "start": 1.0,
    }
    return sum(part.number * part.seconds / speed[part.resource] for part in parts)


def choose_trial(
    *, image_seconds: float, image_bytes: float, batch_size: int, budget: float, free: float
) -> tuple[int, int]:
    """Images a step, and steps, that a measurement can afford; the true batch size where it can.

    Args:
        image_seconds: of a training image, roughly.
        image_bytes: memory it takes.
        batch_size: of the step.
        budget: seconds.
        free: bytes of memory.
    """
    least, most = STEPS
    fits = int(FITS * free / max(image_bytes, 1.0))
    in_time = int(budget / (least * max(image_seconds, 1e-9)))
    batch = max(min(batch_size, fits, in_time), min(batch_size, 2))
    return batch, max(min(int(budget / max(batch * image_seconds, 1e-9)), most), least)


def next_count(runs: Sequence[tuple[int, float]], *, budget: float) -> int | None:
    """On how many images a step is to be run next; None when it is known well enough.

    First on few; again, now that all that happens once has happened, unless that is slow; then on as many as there is
    time for.

    Args:
        runs: number of images and seconds, in the order they were run.
        budget: seconds.
    """
    if not runs or (len(runs) == 1 and runs[0][1] <= budget):
        return PROBE
    number, seconds = runs[-1]
    if number > PROBE:
        return None
    return min(max(int(3 * budget * number / max(seconds, 1e-9)), 2 * PROBE), SAMPLE)


def slope(runs: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Seconds an image, and seconds once, of runs over different numbers of images.

    The first run also pays for what happens once, as starting processes. Two more make a line; since few images are a
    noisy measure, it is held between a quarter and all of the last one's mean, which alone counts where there is no
    third.

    Args:
        runs: number of images and seconds, in the order they were run.
    """
    (first, cold), (number, total) = runs[0], runs[-1]
    image = mean = total / number
    if len(runs) > 2 and number > runs[-2][0]:
        before, seconds = runs[-2]
        image = min(max((total - seconds) / (number - before), mean / 4), mean)
    return image, max(cold - first * image, 0.0)
