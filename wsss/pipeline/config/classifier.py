"""Options of the classifier, and of its backbone and optimiser, which other steps have too."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from wsss.pipeline.config.data import AugmentConfig


@dataclass
class BackboneConfig:
    """See `wsss.models.build_backbone`.

    Attributes:
        name: resnet18, resnet34, resnet50, resnet101, vgg16, or any network that timm lists.
        weights: imagenet (downloaded, or from a package), none (random), or a file of that network's weights.
        output_stride: pixels of the image for a cell of the last stage: 8, 16 or 32.
        frozen_stages: stages whose weights are not trained.
        freeze_norm: batch norms keep their statistics and are not trained.
    """

    name: str = "resnet50"
    weights: str = "imagenet"
    output_stride: int = 16
    frozen_stages: list[str] = field(default_factory=list)
    freeze_norm: bool = False


@dataclass
class OptimizerConfig:
    """See `wsss.tasks.make_optimizer` and `wsss.tasks.optim.PolyTask`.

    Attributes:
        name: adamw or sgd.
        lr: learning rate of the backbone (and of FC1 in the ReCAM step).
        head_lr_factor: learning rate of the head over `lr`.
        bias_lr_factor: learning rate of the head's biases over that of the head; DeepLab v2's published training has 2.
        momentum: of sgd.
        weight_decay: of all weights.
        poly_power: the learning rate falls as (1 - step / steps) to this power.
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
        epochs: how often each image is seen.
        batch_size: images of a step, of all processes together unless `trainer.batch` says otherwise.
        pooling: gap, the mean over cells, or gmp, their maximum; ReCAM needs gap.
        loss: bce, each class by itself, or softmax, for data whose images have one label each; ReCAM needs bce.
        freeze_backbone: only the head learns; the weights and batch norm statistics below it stay as they started. The
            ReCAM step trains the whole network all the same.
        augment: its crops.
        optimizer: its optimiser.
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
        epochs: how often each image is seen.
        batch_size: images of a step.
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
