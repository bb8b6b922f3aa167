"""Options of what is measured."""

from dataclasses import dataclass, field

from wsss.defaults import BOUNDARY, PERCENTILES


@dataclass
class EvaluationConfig:
    """How label maps are scored against true ones; docs/evaluation.md has the conventions.

    Attributes:
        void: what a predicted 255 is: `wrong`, or `ignore`, left out like void in the truth.
        absent: what a label that a figure has nothing to count of does to the mean: `skip`, or `zero`.
        boundary: width of boundary IoU's band along contours, as a share of the image's diagonal.
        jobs: images scored at a time; -1: one a core.
    """

    void: str = "wrong"
    absent: str = "skip"
    boundary: float = BOUNDARY
    jobs: int = -1


@dataclass
class LocalizationConfig:
    """How well maps find their objects, for `localize.py`; docs/localisation.md has the conventions.

    Attributes:
        split: images whose maps are looked at: train, those of the seeds that are scored, or val, whose maps are drawn.
        kinds: kinds of map; default: all that are drawn, and `seed`, their average.
        boxes: where true boxes come from: xml (VOC's annotations), masks (their connected parts), or a folder of
            annotations `<id>.xml` as ImageNet's, which count pixels from 0; auto: xml where there are such, else masks.
        fractions: number of fractions of the maximum that boxes are cut at, evenly spaced over [0, 1).
        connectivity: 8, or 4, where pixels that touch at a corner are not connected.
        network: what classifies whole images and what is within boxes: classifier, recam or control; default: recam
            where the run has it, else classifier.
    """

    split: str = "train"
    kinds: list[str] | None = None
    boxes: str = "auto"
    fractions: int = 100
    connectivity: int = 8
    network: str | None = None


@dataclass
class FaithfulnessConfig:
    """How far maps tell what a classifier looks at, for `faithfulness.py`; see `wsss.metrics.faithfulness`.

    Attributes:
        split: see `LocalizationConfig`.
        kinds: see `LocalizationConfig`.
        network: the classifier whose answers are compared, see `LocalizationConfig`.
        limit_images: of the split, the first so many.
        batch_size: images that go through the network together.
        steps: of the curves of deletion and insertion.
        percentiles: of the pixels, which ROAD imputes.
    """

    split: str = "train"
    kinds: list[str] | None = None
    network: str | None = None
    limit_images: int | None = 50
    batch_size: int = 16
    steps: int = 20
    percentiles: list[float] = field(default_factory=lambda: list(map(float, PERCENTILES)))
