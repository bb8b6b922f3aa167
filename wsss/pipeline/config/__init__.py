"""Every option of the pipeline, with its type and default.

The YAML groups under conf/ override these by name; an unknown key or a value of the wrong type is refused before any
work starts.
"""

from dataclasses import dataclass, field

from wsss.pipeline.config.cam import AdvConfig, CamConfig
from wsss.pipeline.config.classifier import BackboneConfig, ClassifierConfig, OptimizerConfig, ReCAMConfig
from wsss.pipeline.config.data import AugmentConfig, DataConfig
from wsss.pipeline.config.evaluation import EvaluationConfig, FaithfulnessConfig, LocalizationConfig
from wsss.pipeline.config.masks import MasksConfig, PARConfig, RelationsConfig, WalkConfig
from wsss.pipeline.config.plan import HardwareConfig, PlanConfig
from wsss.pipeline.config.segmenter import (
    InferenceConfig,
    MaskLossConfig,
    OwnBackboneConfig,
    SegmenterConfig,
    SelfTrainingConfig,
)
from wsss.pipeline.config.sweep import SearchConfig, SweepConfig
from wsss.pipeline.config.trainer import CallbacksConfig, EarlyStoppingConfig, LoggerConfig, TrainerConfig

__all__ = [
    "AdvConfig",
    "AugmentConfig",
    "BackboneConfig",
    "CallbacksConfig",
    "CamConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "FaithfulnessConfig",
    "HardwareConfig",
    "InferenceConfig",
    "LocalizationConfig",
    "LoggerConfig",
    "MaskLossConfig",
    "MasksConfig",
    "OptimizerConfig",
    "OwnBackboneConfig",
    "PARConfig",
    "PlanConfig",
    "ReCAMConfig",
    "RelationsConfig",
    "ReportConfig",
    "SearchConfig",
    "SegmenterConfig",
    "SelfTrainingConfig",
    "SweepConfig",
    "TrainerConfig",
    "WalkConfig",
]


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
