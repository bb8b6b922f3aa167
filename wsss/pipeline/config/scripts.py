"""Options of scripts that have their own."""

from dataclasses import dataclass, field
from typing import Any

from wsss.pipeline.config.data import DataConfig
from wsss.pipeline.config.evaluation import EvaluationConfig
from wsss.pipeline.config.segmenter import InferenceConfig
from wsss.pipeline.config.trainer import TrainerConfig


@dataclass
class FoldersConfig(EvaluationConfig):
    """Options of `scripts/evaluate.py` for label maps without a model; see `EvaluationConfig` for the others.

    Attributes:
        predictions: folder of label maps `<id>.png`, palette or grey.
        masks: folder of the true ones, by the same names.
        classes: names of the labels 1, 2, …, `background` before them or not: a list, or a file with one name a
            line; default: the labels' numbers.
        background: name of label 0.
        split: file with the ids that are scored, one a line; default: every mask.
        out: folder of the scores.
    """

    predictions: str = "???"
    masks: str = "???"
    classes: Any = None
    background: str = "background"
    split: str | None = None
    out: str = "outputs/evaluation"


@dataclass
class ExplainConfig:
    """Options of `scripts/explain.py`.

    Attributes:
        image: a photograph, or a folder of them.
        model: an ImageNet classifier of torchvision or timm, or the `model.pt` of a run's classifier or ReCAM step.
        weights: imagenet, none, or a file; of ImageNet classifiers.
        cam: a method, see `wsss.cam.METHODS`.
        layers: names of modules; default: the last of each resolution, down to stride 4.
        classes: names or indices; default: the `top` best-scoring ones.
        top: how many classes, where none are named.
        fusion: how the layers are joined, mean or max.
        guided: also draw the joined map times the guided gradient of the pixels (Guided Grad-CAM), 0 in grey; for
            networks of ReLUs.
        resize_long: longer side of the image as the network sees it, in pixels; null: its own. A vision transformer
            sees a whole number of patches.
        out: folder of the pictures and arrays.
    """

    image: str
    model: str = "resnet50"
    weights: str = "imagenet"
    cam: str = "layer_cam"
    layers: list[str] | None = None
    classes: list[str] | None = None
    top: int = 2
    fusion: str = "mean"
    guided: bool = False
    resize_long: int | None = 320
    out: str = "outputs/explain"


@dataclass
class ExportConfig:
    """Options of `scripts/export.py`.

    Attributes:
        checkpoint: `model.pt` of a run's segmenter.
        out: the file: .onnx, or .pt2 for torch.export.
        opset: ONNX's version of its operators, 18 or later.
        quantize: `static` or `dynamic`: also write `<out>.int8.onnx`, and tell what it loses.
        images: photographs to check with and to calibrate by, named as for `predict.py`; default: those of the data.
        data: the data set whose train photographs calibrate, and whose val photographs check, and score where they have
            masks; without a root: that of the run the checkpoint lies in.
        calibration: how many photographs calibrate a static quantisation.
        limit_images: check and score with the first so many photographs only.
    """

    checkpoint: str
    out: str = "model.onnx"
    opset: int = 18
    quantize: str | None = None
    images: str | None = None
    data: DataConfig = field(default_factory=lambda: DataConfig(root=""))
    calibration: int = 64
    limit_images: int | None = None


@dataclass
class PredictConfig:
    """Options of `scripts/predict.py`.

    Attributes:
        images: a photograph, a folder with its subfolders, or a glob as photos/**/*.jpg.
        checkpoint: `model.pt` of a run's segmenter.
        out: folder of the outputs.
        overlays: also draw the labels over each photograph.
        coco: also write COCO instances, as `rle` (needs pycocotools) or `polygons`.
        batch_size: photographs of one size that go through the network together; worth raising on a GPU.
        overwrite: make all anew, where photographs that have their label map are skipped else.
        inference: how photographs are looked at.
        trainer: hardware; its devices and num_workers play no part.
    """

    images: str
    checkpoint: str
    out: str = "predictions"
    overlays: bool = True
    coco: str | None = None
    batch_size: int = 1
    overwrite: bool = False
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
