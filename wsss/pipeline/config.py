"""Every option of the pipeline, with its type and default.

The YAML groups under conf/ override these by name; an unknown key or a value of the wrong type is refused before any
work starts.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from wsss.masks import CRFParams


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
class BackboneConfig:
    """See `wsss.models.build_backbone`."""

    name: str = "resnet50"
    weights: str = "imagenet"
    output_stride: int = 16
    frozen_stages: list[str] = field(default_factory=list)
    freeze_norm: bool = False


@dataclass
class AugmentConfig:
    """See `wsss.data.train_transform`."""

    crop: int = MISSING
    resize_long: list[int] | None = None
    scale: list[float] | None = None
    flip: bool = True
    color_jitter: float = 0.0


@dataclass
class OptimizerConfig:
    """See `wsss.tasks.make_optimizer` and `wsss.tasks.optim.PolyTask`.

    Attributes:
        lr: learning rate of the backbone (and of FC1 in the ReCAM step).
        head_lr_factor: learning rate of the head over `lr`.
        warmup: steps of linear rise.
    """

    name: str = "adamw"
    lr: float = MISSING
    head_lr_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    poly_power: float = 0.9
    warmup: int = 0


@dataclass
class ClassifierConfig:
    """First step: the classifier."""

    epochs: int = 5
    batch_size: int = 16
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class ReCAMConfig:
    """Second step: the ReCAM head, trained from the classifier.

    Attributes:
        enabled: `recam=none` leaves the step out; seeds then come from the classifier.
        sce_weight: λ.
        fc2_init: `zero` or `default` (torch's).
        control: also train the control, as many extra epochs of BCE alone, and score its CAM.
        augment: default: the classifier's.
    """

    enabled: bool = True
    epochs: int = 2
    batch_size: int = 16
    sce_weight: float = 1.0
    fc2_init: str = "zero"
    control: bool = False
    augment: AugmentConfig | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class CamConfig:
    """Seeds.

    Attributes:
        seed: kinds of map that are averaged to be the pipeline's seed; one named twice counts twice. Of the last
            stage: cam, recam (W1∘ReLU(W2)), recam_w1w2 (published), recam_fc1. Of any stages: grad_cam, grad_cam_pp,
            x_grad_cam, element_wise_cam, hires_cam, layer_cam, score_cam. Without ReCAM, `recam…` falls out and the
            others are the classifier's.
        extra: kinds exported and scored beside them, for comparison.
        scales: resize factors of the multi-scale maps of the last stage.
        flip: add the mirrored image at every scale.
        resize_long: longer side of the base image in pixels; default: the image's own size.
        stages: stages that kinds of any stages are drawn from.
        layer_scales: resize factors for them.
        target: the score they explain, GAP(f)·w with w = W1 (fc1), W1∘ReLU(W2) (recam) or W1∘W2 (recam_w1w2).
        fusion: how the stages are joined, mean or max.
        stage_weights: weights of that mean, one for each of `stages`; default: equal.
        tanh_stages: stages scaled by tanh(γ·M/max M) before fusion (LayerCAM's eq. 9).
        gamma: γ.
        keep_stages: also export and score each stage alone.
        grad_cam_pp_eps: see `wsss.cam.grad_cam_pp`.
        batch_size: images of one size that go through the network together.
        limit_images: draw the first so many train images only, to try a slow kind; masks need all.
        thresholds: number of background thresholds of the sweep, evenly spaced over [0, 1).
    """

    seed: list[str] = field(default_factory=lambda: ["element_wise_cam"])
    extra: list[str] = field(default_factory=lambda: ["cam", "recam", "recam_w1w2", "recam_fc1", "layer_cam"])
    scales: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0])
    flip: bool = True
    resize_long: int | None = None
    stages: list[str] = field(default_factory=lambda: ["stage3", "stage4", "stage5"])
    layer_scales: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0])
    target: str = "fc1"
    fusion: str = "mean"
    stage_weights: list[float] | None = None
    tanh_stages: list[str] = field(default_factory=list)
    gamma: float = 2.0
    keep_stages: bool = False
    grad_cam_pp_eps: float = 1e-12
    batch_size: int = 16
    limit_images: int | None = None
    thresholds: int = 100


@dataclass
class MasksConfig:
    """Pseudo-masks.

    Attributes:
        kind: crf, confident (two CRF passes, uncertain pixels void) or threshold.
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
    """

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


@dataclass
class SegmenterConfig:
    """Last step: a segmentation network on the pseudo-masks.

    Attributes:
        name: the network, see `wsss.models.build_segmentation`.
        init: backbone weights from `imagenet` (see backbone.weights) or from the run's `classifier` (its ReCAM network
            where there is one).
        output_stride: default: the backbone's.
        eval_resize_long: longer side, in pixels, at which images are predicted; default: their own size. Label maps
            always have the image's size.
        masks: folder of label maps `<id>.png` to train on; default: the run's own pseudo-masks.
        supervised_twin: also train the same network on the true masks, as the bound it is compared with.
    """

    name: str = "deeplab_v3plus"
    epochs: int = 6
    batch_size: int = 16
    init: str = "imagenet"
    output_stride: int | None = None
    eval_resize_long: int | None = None
    channels: int = 256
    atrous_rates: list[int] = field(default_factory=lambda: [6, 12, 18])
    skip_stage: str = "stage2"
    skip_channels: int = 48
    masks: str | None = None
    supervised_twin: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class InferenceConfig:
    """How trained segmenters look at photographs in `evaluate.py` and `predict.py`, see `wsss.models.Inference`.

    Attributes:
        scales: resize factors whose logits are averaged.
        flip: add the mirror image at every scale.
        window: side of sliding windows in pixels; default: a photograph of up to 2 megapixels (at its scale) is seen as
            a whole, a larger one in windows of 1024, which bounds the memory.
        overlap: share of a window that the next one sees again.
        crf: a CRF on the probabilities afterwards, see `wsss.masks.CRFParams`; a photograph of more than 0.8 megapixels
            gets it at that size; default: none.
    """

    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    window: int | None = None
    overlap: float = 1 / 3
    crf: CRFParams | None = None


@dataclass
class TrainerConfig:
    """Hardware and loops; none of it changes what is computed, so none of it makes a finished step stale.

    Attributes:
        accelerator: as Lightning: auto, cpu, gpu.
        devices: as Lightning: auto, or a number.
        precision: as Lightning, or `auto`: bf16-mixed where the hardware is fast at it, else 32-true.
        num_workers: loader processes; default: half of the cores, at most 8, and none on two cores.
        threads: torch's CPU threads; default: torch's own choice.
        progress: bars, when standard output is a terminal.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    precision: str = "auto"
    num_workers: int | None = None
    threads: int | None = None
    progress: bool = True


@dataclass
class LoggerConfig:
    """Where curves go.

    Attributes:
        csv: `metrics/version_<n>/metrics.csv` in the step's folder, one for each start.
        tensorboard: TensorBoard files in the step's folder; needs the extra `tracking`.
    """

    csv: bool = True
    tensorboard: bool = True


@dataclass
class ReportConfig:
    """The HTML page.

    Attributes:
        num_images: images in each gallery.
    """

    num_images: int = 12


@dataclass
class Config:
    """A whole run.

    Attributes:
        run: name of the run; all of its outputs lie in `outputs/<run>`.
        outputs: folder of the runs.
        seed: random seed.
        overwrite: redo a step whose options have changed, instead of refusing.
        reuse: take a step that another run of `outputs` has finished with the very same options from there.
        until: `run_pipeline.py` ends after this step; recam stands for the control too.
        limit_images: use the first so many images of each split only.
    """

    run: str = "default"
    outputs: str = "outputs"
    seed: int = 0
    overwrite: bool = False
    reuse: bool = True
    until: str = "report"
    limit_images: int | None = None
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    recam: ReCAMConfig = field(default_factory=ReCAMConfig)
    cam: CamConfig = field(default_factory=CamConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
