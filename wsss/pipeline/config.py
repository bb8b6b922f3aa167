"""Every option of the pipeline, with its type and default.

The YAML groups under conf/ override these by name; an unknown key or a value of the wrong type is refused before any
work starts.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.errors import InputError
from wsss.masks import CRFParams
from wsss.metrics import BOUNDARY, PERCENTILES
from wsss.models.weights import first_line


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
        bias_lr_factor: learning rate of the head's biases over that of the head; DeepLab v2's published training has 2.
        warmup: steps of linear rise.
    """

    name: str = "adamw"
    lr: float = MISSING
    head_lr_factor: float = 10.0
    bias_lr_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 1e-4
    poly_power: float = 0.9
    warmup: int = 0


@dataclass
class ClassifierConfig:
    """First step: the classifier.

    Attributes:
        pooling: gap, the mean over cells, or gmp, their maximum; ReCAM needs gap.
        loss: bce, each class by itself, or softmax, for data whose images have one label each; ReCAM needs bce.
        freeze_backbone: only the head learns; the weights and batch norm statistics below it stay as they started. The
            ReCAM step trains the whole network all the same.
    """

    epochs: int = 5
    batch_size: int = 16
    pooling: str = "gap"
    loss: str = "bce"
    freeze_backbone: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class ReCAMConfig:
    """Second step: the ReCAM head, trained from the classifier.

    Attributes:
        enabled: `recam=none` leaves the step out; seeds then come from the classifier.
        sce_weight: λ, the weight of FC2's loss, whatever that is.
        bce_weight: of FC1's BCE; 0: FC2's loss alone. See `wsss.models.ReCAMVariant` for this and the next four.
        fc2_loss: sce, bce or both.
        softmax: over all classes, or those present in the image, so that images of one class teach the SCE nothing.
        pooling: of class-specific features: pixels, the sum over the number of cells, or mass, over that of the map.
        detach_max: no gradient through the maximum that maps are divided by (`pooling: pixels` alone has one).
        fc2_init: `zero` or `default` (torch's).
        control: also train the control, as many extra epochs of BCE alone, and score its CAM. Variants share it: its
            weights are 1 and 0 whatever theirs are.
        augment: default: the classifier's.
    """

    enabled: bool = True
    epochs: int = 2
    batch_size: int = 16
    sce_weight: float = 1.0
    bce_weight: float = 1.0
    fc2_loss: str = "sce"
    softmax: str = "all"
    pooling: str = "pixels"
    detach_max: bool = False
    fc2_init: str = "zero"
    control: bool = False
    augment: AugmentConfig | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class AdvConfig:
    """AdvCAM: the maps of images that climb the score of their class, added up; see `wsss.cam.climb`.

    Attributes:
        steps: how often an image is changed, 27 as published; 0: maps of the images as they are.
        step_size: ξ, of images divided by their standard deviation.
        weight: λ, of what holds back regions that are high already.
        threshold: τ, the share of a map's maximum above which they are.
    """

    steps: int = 0
    step_size: float = 0.008
    weight: float = 7.0
    threshold: float = 0.5


@dataclass
class CamConfig:
    """Seeds.

    Attributes:
        seed: kinds of map that are averaged to be the pipeline's seed; one named twice counts twice. Of the last
            stage: cam, recam (W1∘ReLU(W2)), recam_w1w2 (published), recam_fc1. Of any stages: grad_cam, grad_cam_pp,
            x_grad_cam, element_wise_cam, hires_cam, layer_cam, norm_grad, score_cam. Without ReCAM, `recam…` falls out
            and the others are the classifier's.
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
        drawn_stages: stages whose maps are exported before fusion, so that runs that differ in `stages` or fusion share
            them; default: maps are fused as they are drawn, and nothing is kept of them.
        grad_cam_pp_eps: see `wsss.cam.grad_cam_pp`.
        adv: climb before the maps are drawn, whatever their kinds.
        batch_size: images of one size that go through the network together.
        limit_images: draw the first so many images of a split only, to try a slow kind; masks need all.
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
    drawn_stages: list[str] | None = None
    grad_cam_pp_eps: float = 1e-12
    adv: AdvConfig = field(default_factory=AdvConfig)
    batch_size: int = 16
    limit_images: int | None = None
    thresholds: int = 100


@dataclass
class RelationsConfig:
    """IRN or AffinityNet, trained on the confident labels of the seeds (see MasksConfig, kind `confident`).

    Attributes:
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


@dataclass
class OwnBackboneConfig:
    """Where the segmenter's backbone is another than the run's; null: as that one (see `BackboneConfig`)."""

    name: str | None = None
    weights: str | None = None
    frozen_stages: list[str] | None = None
    freeze_norm: bool | None = None


@dataclass
class MaskLossConfig:
    """How the segmenter's cross-entropy deals with masks that are partly wrong; see `wsss.tasks.losses.mask_loss`.

    Attributes:
        class_balance: power of the inverse frequency by which labels are weighted; 0 leaves pixels alike.
        hardest: share of the pixels that count, those of the largest loss.
        bootstrap: share of the target that is the network's own prediction.
        confidence: weigh pixels of the run's pseudo-masks by the score of their label in the seeds.
    """

    class_balance: float = 0.0
    hardest: float = 1.0
    bootstrap: float = 0.0
    confidence: bool = False


@dataclass
class SelfTrainingConfig:
    """Rounds in which the segmenter labels the train images anew and is trained on that.

    Attributes:
        rounds: at most so many.
        min_change: stop when fewer than this share of the pixels get another label than the round before.
        scales: resize factors at which the train images are labelled.
        flip: add the mirror image at every scale.
        crf: sharpen with the CRF of `masks.crf`.
    """

    rounds: int = 0
    min_change: float = 0.01
    scales: list[float] = field(default_factory=lambda: [0.75, 1.0, 1.25])
    flip: bool = True
    crf: bool = True


@dataclass
class SegmenterConfig:
    """Last step: a segmentation network on the pseudo-masks.

    Attributes:
        name: the network: deeplab_v1, deeplab_v2, deeplab_v3, deeplab_v3plus or smp, see `wsss.models.deeplab` and
            `wsss.models.smp`. The options from `channels` to `encoder_weights` are each for some of them; null leaves
            them to the network.
        init: backbone weights from `imagenet` (see backbone.weights) or from the run's `classifier` (its ReCAM network
            where there is one).
        backbone: what its backbone has of its own; default: nothing, it is built as the run's.
        output_stride: default: the run's backbone's; smp: its architecture's.
        channels: width of pyramid and decoder; all but deeplab_v2.
        atrous_rates: dilations of the pyramid, in cells of the last stage; default: the paper's, scaled to the stride.
        skip_stage: deeplab_v3plus: the shallow stage.
        skip_channels: deeplab_v3plus: width it is reduced to.
        separable: deeplab_v3plus: depthwise and 1×1 convolutions in place of 3×3 ones.
        arch: smp: Unet, FPN, Segformer, UPerNet, …
        encoder: smp: resnet34, mit_b0, tu-<any timm network>, …; takes the place of the backbone.
        encoder_weights: smp: imagenet, another set of smp's, none, or a file.
        multi_scale_inputs: scales besides 1 at which each image is seen, in training with a loss for each and for
            their maximum, which is the prediction; the published DeepLab v2 has [0.5, 0.75]; default: none.
        eval_resize_long: longer side, in pixels, at which images are predicted; default: their own size. Label maps
            always have the image's size.
        ema_decay: decay of the weights' moving average, which is the result; default: the last weights are.
        loss: see `MaskLossConfig`.
        self_training: see `SelfTrainingConfig`.
        masks: folder of label maps `<id>.png` to train on; default: the run's own pseudo-masks.
        supervised_twin: also train the same network on the true masks, as the bound it is compared with.
    """

    name: str = "deeplab_v3plus"
    epochs: int = 6
    batch_size: int = 16
    init: str = "imagenet"
    backbone: OwnBackboneConfig = field(default_factory=OwnBackboneConfig)
    output_stride: int | None = None
    channels: int | None = None
    atrous_rates: list[int] | None = None
    skip_stage: str | None = None
    skip_channels: int | None = None
    separable: bool | None = None
    arch: str | None = None
    encoder: str | None = None
    encoder_weights: str | None = None
    multi_scale_inputs: list[float] | None = None
    eval_resize_long: int | None = None
    ema_decay: float | None = None
    loss: MaskLossConfig = field(default_factory=MaskLossConfig)
    self_training: SelfTrainingConfig = field(default_factory=SelfTrainingConfig)
    masks: str | None = None
    supervised_twin: bool = False
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop=160, scale=[0.75, 1.5]))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=5e-4))


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

    Raises:
        InputError: if it is not a CRF's options.
    """

    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    window: int | None = None
    overlap: float = 1 / 3
    crf: Any = None  # CRFParams or None, where OmegaConf could put no mapping

    def __post_init__(self) -> None:
        """Make what the command line gives a `CRFParams`."""
        if self.crf is None or isinstance(self.crf, CRFParams):
            return
        try:
            self.crf = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(CRFParams), self.crf))
        except (OmegaConfBaseException, ValueError, TypeError) as error:
            known = ", ".join(option.name for option in fields(CRFParams))
            raise InputError(f"inference.crf={self.crf}: {first_line(error)}; its options are {known}") from error


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


@dataclass
class TrainerConfig:
    """Hardware and loops; none of it changes what is computed, so none of it makes a finished step stale.

    With several processes `batch` and `lr_rule` change batch sizes and learning rates, which do; see `for_processes`.

    Attributes:
        accelerator: as Lightning: auto, cpu, gpu.
        devices: processes on this machine, each with a GPU where there are some; auto: as many as there are GPUs. Those
            that torchrun or srun has started are taken as they are.
        strategy: how several processes train: ddp (each has the whole network), or fsdp (each keeps a share of its
            weights, gradients and optimiser, for networks that are too large for one GPU).
        batch: what a batch_size counts: global (images of all processes together, so that steps and learning rates
            are those of one) or per_device.
        lr_rule: per_device: what multiplies learning rates by the number of processes: none, linear or sqrt.
        sync_batchnorm: batch norm over the images of all processes, on GPUs; else each sees its own.
        precision: as Lightning, or `auto`: bf16-mixed where the hardware is fast at it, else 32-true.
        num_workers: loader processes; default: half of the cores, at most 8, and none on two cores.
        threads: torch's CPU threads; default: torch's own choice.
        val_every: epochs between two looks at the val split while training; the last epoch's figures do not need one.
        progress: bars, when standard output is a terminal.
        deterministic: only operations that give the same bits every time; torch warns of those that have no such form.
        profiler: write where a training's time goes to `<step>/fit-profile.txt`: simple (by hook), advanced (by Python
            function) or pytorch (by operation); default: none.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "ddp"
    batch: str = "global"
    lr_rule: str = "none"
    sync_batchnorm: bool = False
    precision: str = "auto"
    num_workers: int | None = None
    threads: int | None = None
    val_every: int = 1
    progress: bool = True
    deterministic: bool = False
    profiler: str | None = None


@dataclass
class LoggerConfig:
    """Where curves go, and, but for the CSV files, the options and the step's figures too; docs/reproducibility.md.

    Attributes:
        csv: `metrics/version_<n>/metrics.csv` in the step's folder, one for each start.
        tensorboard: TensorBoard files in the step's folder; needs the extra `tracking`.
        wandb: a run of Weights & Biases for each training; needs the extra `wandb`.
        mlflow: a run of MLflow for each training; needs the extra `mlflow`.
        project: W&B's project, MLflow's experiment.
        name: of their runs, before the step's; default: the run's.
        tags: W&B's and MLflow's.
        offline: W&B: leave everything in the step's folder; `wandb sync` sends it later.
        tracking_uri: MLflow's server or store; default: MLFLOW_TRACKING_URI, or else a file `mlflow.db` in the run's
            folder.
    """

    csv: bool = True
    tensorboard: bool = True
    wandb: bool = False
    mlflow: bool = False
    project: str = "wsss"
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    offline: bool = False
    tracking_uri: str | None = None


@dataclass
class EarlyStoppingConfig:
    """End a training before its epochs are over; only classifiers and segmenters have a val figure to judge by.

    Attributes:
        patience: looks at the val split (see trainer.val_every) without a rise after which it ends; default: it does
            not.
        min_delta: a rise counts from here on, in the figure's units: mAP up to 1, mIoU in percent.
    """

    patience: int | None = None
    min_delta: float = 0.0


@dataclass
class CallbacksConfig:
    """Lightning's callbacks in all trainings.

    Attributes:
        early_stopping: see `EarlyStoppingConfig`; the one that changes results.
        lr_monitor: learning rates to the loggers, step by step.
        model_summary: print the network's modules to this depth; 0: do not.
        bar_every: progress bar: batches between two drawings.
        bar_stays: progress bar: leave each epoch's on the terminal.
    """

    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    lr_monitor: bool = False
    model_summary: int = 0
    bar_every: int = 1
    bar_stays: bool = False


@dataclass
class ReportConfig:
    """The HTML page, see docs/report.md.

    Attributes:
        num_images: images in each gallery: the worst, the best, and some evenly spaced.
        side: longer side of their pictures, pixels.
    """

    num_images: int = 96
    side: int = 320


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
        checkpoint: `evaluate.py` scores this model file instead of the run's.
        reproduce: `run_pipeline.py` repeats the run in this folder with its own options, and compares.
        reproduce_tolerance: by how much a figure may differ and be called equal, in its own units; default: not at all,
            to the four decimals that results.json has.
    """

    run: str = "default"
    outputs: str = "outputs"
    seed: int = 0
    overwrite: bool = False
    reuse: bool = True
    until: str = "report"
    limit_images: int | None = None
    checkpoint: str | None = None
    reproduce: str | None = None
    reproduce_tolerance: float = 0.0
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    recam: ReCAMConfig = field(default_factory=ReCAMConfig)
    cam: CamConfig = field(default_factory=CamConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)
    faithfulness: FaithfulnessConfig = field(default_factory=FaithfulnessConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)


@dataclass
class SearchConfig:
    """A search by Optuna in place of all combinations: `hparams_search=…`.

    Attributes:
        objective: key of results.json that is to be high.
        trials: how many settings are tried, those of earlier starts counted in.
        prune: end a trial after its seeds where their mIoU is below the median of those of earlier trials.
        unpruned: so many trials first are never ended early.
        seed: random seed of the choice of settings.
    """

    objective: str = "masks/miou"
    trials: int = 20
    prune: bool = True
    unpruned: int = 4
    seed: int = 0


@dataclass
class SweepConfig:
    """Hydra's `-m`, see `wsss.pipeline.sweep.Sweep`; its options are `hydra.sweeper.…`."""

    _target_: str = "hydra_plugins.wsss.Sweep"
    params: dict[str, Any] = field(default_factory=dict)
    max_batch_size: int | None = None
    search: SearchConfig | None = None
