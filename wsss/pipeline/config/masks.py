"""Options of the pseudo-masks."""

from dataclasses import dataclass, field

from wsss.defaults import CRFParams
from wsss.pipeline.config.classifier import OptimizerConfig
from wsss.pipeline.config.data import AugmentConfig


@dataclass
class RelationsConfig:
    """IRN or AffinityNet, trained on the confident labels of the seeds (see MasksConfig, kind `confident`).

    Attributes:
        epochs: how often each image is seen.
        batch_size: images of a step.
        radius: pairs of cells closer than this are compared.
        augment: default: the classifier's.
    """

    epochs: int = 3
    batch_size: int = 16
    radius: int = 10
    augment: AugmentConfig | None = None
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="sgd", lr=0.1, head_lr_factor=1.0, momentum=0.0, weight_decay=0.0)
    )


@dataclass
class WalkConfig:
    """Random walk of the seeds; see `wsss.masks.random_walk` and `wsss.masks.affinity_walk`.

    Attributes:
        radius: neighbours are closer than this, in cells.
        beta: power of the affinities.
        exp_times: t of the 2^t steps; 8 in both papers, which keep nothing of the seeds.
        scales: irn: resize factors at which edges are seen; their logits are averaged.
        flip: irn: add the mirrored image at every scale.
        keep: share of the seeds in the refined ones; the rest is walked. 0 as published: the walk alone.
        background_power: psa: the background starts with (1 - the best score) to this power, 16 as published;
            default: the one at which it equals a score at the seeds' threshold.
        budget: MiB that a walk's matrix may take; a larger photograph is walked in tiles, of some 25 MiB at least.
    """

    radius: int = 5
    beta: float = 10.0
    exp_times: int = 6
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = True
    keep: float = 0.5
    background_power: float | None = None
    budget: int = 512


@dataclass
class PARConfig:
    """Pixel-adaptive refinement of the seeds; see `wsss.masks.par`.

    Attributes:
        stride: pixels of the image for one of the refined maps.
        dilations: distances of the neighbours.
        iterations: how often.
        color_width: of the kernel of colours.
        place_width: of the kernel of places.
        place_weight: weight of the latter.
    """

    stride: int = 2
    dilations: list[int] = field(default_factory=lambda: [1, 2, 4, 8, 12, 24])
    iterations: int = 10
    color_width: float = 0.3
    place_width: float = 0.3
    place_weight: float = 0.01


@dataclass
class MasksConfig:
    """Pseudo-masks.

    Attributes:
        refine: what spreads the seeds within objects before: none, irn, psa or par.
        kind: crf, confident (two CRF passes, uncertain pixels void), graphcut (`wsss.masks.graph_cut`) or threshold.
        threshold: background threshold; default: chosen without truth, mean of Otsu's over the images.
        annotated: so many train images with truth choose it by their masks, and are left out of the scores.
        area: choose it so that this share of the pixels, on average, is foreground in the masks.
        fg_margin: confident: added to the threshold for the foreground pass.
        bg_margin: confident: subtracted from it for the background pass.
        oracle: where there is truth, also make masks at these offsets from the threshold and score them; the best is
            reported as the oracle, with what the threshold loses to it.
        jobs: processes; -1: one a core.
        backend: how they run: loky (processes of this machine), threading, dask, or any other joblib knows.
        scheduler: dask: its address; default: a cluster of this machine's cores.
        crf: see `wsss.masks.CRFParams`.
        relations: irn and psa: what tells which cells belong together.
        walk: irn and psa: how the seeds are spread.
        par: see `PARConfig`.
    """

    refine: str = "none"
    kind: str = "crf"
    threshold: float | None = None
    annotated: int | None = None
    area: float | None = None
    fg_margin: float = 0.1
    bg_margin: float = 0.1
    oracle: list[float] = field(default_factory=lambda: [-0.1, -0.05, 0.05, 0.1])
    jobs: int = -1
    backend: str = "loky"
    scheduler: str | None = None
    crf: CRFParams = field(default_factory=CRFParams)
    relations: RelationsConfig = field(default_factory=RelationsConfig)
    walk: WalkConfig = field(default_factory=WalkConfig)
    par: PARConfig = field(default_factory=PARConfig)
