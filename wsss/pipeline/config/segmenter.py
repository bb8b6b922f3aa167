"""Options of the segmenter and of how it looks at photographs."""

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.defaults import CRFParams
from wsss.errors import InputError, first_line
from wsss.pipeline.config.classifier import OptimizerConfig
from wsss.pipeline.config.data import AugmentConfig


@dataclass
class OwnBackboneConfig:
    """Where the segmenter's backbone is another than the run's; null: as that one.

    Attributes:
        name: see `backbone.name`.
        weights: see `backbone.weights`.
        frozen_stages: see `backbone.frozen_stages`.
        freeze_norm: see `backbone.freeze_norm`.
    """

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
        epochs: how often each image is seen.
        batch_size: images of a step.
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
