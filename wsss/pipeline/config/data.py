"""Options of a data set and of its random crops."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class DataConfig:
    """A data set and the parts its splits play; see `wsss.data.describe` for layouts and defaults.

    Attributes:
        root: folder of the data set.
        name: how reports call it; default: the folder's name.
        classes: names without background.
        labels: source of image-level labels: table, xml, masks, folders, or auto.
        image_folder: photographs.
        mask_folder: ground-truth masks.
        val_share: share of the images for `val`, where the data set has no splits.
        split_seed: random seed of that split.
        cache_long: train on copies of the photographs whose longer side has at most so many pixels; they are made in
            outputs/cache the first time.
        skip_bad: leave out images with a fault and count them, instead of refusing.
        train: split whose image labels train the networks and whose images get seeds and masks.
        score: split (part of `train`) on which seeds and masks are scored; default: `train`.
        tuned_on: list of images whose masks have chosen options, so that scores of seeds and masks leave them out; a
            list of the data set's, or one that comes with the package (voc300_tuned).
        val: split the segmenter is scored on.
    """

    root: str = MISSING
    name: str | None = None
    classes: list[str] | None = None
    labels: str = "auto"
    image_folder: str | None = None
    mask_folder: str | None = None
    val_share: float = 0.2
    split_seed: int = 0
    cache_long: int | None = None
    skip_bad: bool = False
    train: str = "train"
    score: str | None = None
    tuned_on: str | None = None
    val: str = "val"


@dataclass
class AugmentConfig:
    """See `wsss.data.train_transform`.

    Attributes:
        crop: side of the square crop, pixels.
        resize_long: range of the longer side before the crop, pixels; or
        scale: range of the resize factor; default: neither, the image's own size.
        flip: mirror half of the images.
        color_jitter: strength of the change of brightness, contrast and saturation; hue changes by a quarter of it.
    """

    crop: int = MISSING
    resize_long: list[int] | None = None
    scale: list[float] | None = None
    flip: bool = True
    color_jitter: float = 0.0
