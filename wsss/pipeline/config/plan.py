"""Options of the plan."""

from dataclasses import dataclass


@dataclass
class PlanConfig:
    """What `plan.py` cannot see for itself; docs/planning.md.

    Attributes:
        images: train images; default: as many as the data set has. Where there is no data set yet, VOC 2012 and COCO
            2014 are known by their name, and others are described by this and the next five.
        val_images: as well, of val.
        scored: train images with true masks; default: all.
        image_size: height and width of the images, where there is no data set.
        classes: number of classes, where there is no data set.
        classes_per_image: mean number of image-level labels, where there is no data set.
        seconds: how long each of the half a dozen measurements may take, roughly.
        json: file of the plan; default: plan.json in the run's folder.
        compare: folder of a run with the same options whose times and files are put beside the predicted ones.
    """

    images: int | None = None
    val_images: int | None = None
    scored: int | None = None
    image_size: list[int] | None = None
    classes: int | None = None
    classes_per_image: float | None = None
    seconds: float = 8.0
    json: str | None = None
    compare: str | None = None


@dataclass
class HardwareConfig:
    """What `plan.py` plans for, as ratios to this machine; they are the user's word, since only this one is measured.

    Attributes:
        devices: GPUs (or processes) that training and drawing are spread over.
        training_speed: of one device over the one measured, in training.
        inference_speed: as well, where networks only look.
        cores: CPU cores; default: as many as here.
        cpu_speed: of one core over one here: CRF, walks on the CPU, scores, files.
    """

    devices: int = 1
    training_speed: float = 1.0
    inference_speed: float = 1.0
    cores: int | None = None
    cpu_speed: float = 1.0
