"""Networks of a run: built from its options, kept in and read from its folder."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from wsss.errors import InputError
from wsss.models import Backbone, Classifier, ReCAMClassifier, SegmentationNetwork, build_backbone, build_segmentation
from wsss.models.files import ModelFile, backbone_of, building, read_model, save_model
from wsss.models.loading import filled
from wsss.pipeline.architecture import architecture
from wsss.pipeline.config import Config
from wsss.pipeline.run import Run


def new_classifier(config: Config, num_classes: int) -> Classifier:
    """A classifier with the backbone's initial weights."""
    backbone = build_backbone(**asdict(config.backbone))
    return Classifier(backbone, num_classes, pooling=config.classifier.pooling)  # type: ignore[arg-type]  # checked


def new_recam(config: Config, classifier: Classifier) -> ReCAMClassifier:
    """A ReCAM network that starts as the trained classifier."""
    num_classes = classifier.fc1.out_channels
    network = ReCAMClassifier(classifier.backbone, num_classes, fc2_init=config.recam.fc2_init)  # type: ignore[arg-type]
    network.fc1.load_state_dict(classifier.fc1.state_dict())
    return network


def save_classifier(run: Run, path: Path, network: Classifier) -> None:
    """Keep a classifier or ReCAM network as a model file."""
    kind = "recam" if isinstance(network, ReCAMClassifier) else "classifier"
    settings = {"backbone": {**asdict(run.config.backbone), "weights": "none"}, "pooling": network.pooling}
    save_model(path, network, kind=kind, network=settings, classes=list(run.data.classes))


def load_classifier(path: Path) -> Classifier:
    """Read a classifier or ReCAM network."""
    return classifier_of(read_classifier(path), path)


def read_classifier(path: Path) -> ModelFile:
    """The model file of a classifier or ReCAM network."""
    return read_model(path, kinds=("classifier", "recam"))


def classifier_of(file: ModelFile, path: Path) -> Classifier:
    """The network of a classifier's model file, read from `path`.

    Raises:
        InputError: if it cannot be built.
    """

    def build() -> Classifier:
        backbone, num_classes = backbone_of(file), len(file.classes)
        if file.kind == "recam":
            return ReCAMClassifier(backbone, num_classes)
        return Classifier(backbone, num_classes, pooling=file.network.get("pooling", "gap"))  # absent in older files

    with building(path):
        return filled(build, file.state_dict)


def new_segmenter(run: Run) -> SegmentationNetwork:
    """A segmenter whose backbone starts from ImageNet or from the run's newest classifier."""
    name, backbone, head = architecture(run.config)
    network = build_segmentation(name, run.data.num_classes + 1, backbone=backbone, head=head)
    if run.config.segmenter.init == "classifier":
        try:
            network.backbone.load_state_dict(trained_backbone(run).state_dict())
        except RuntimeError:
            raise InputError(
                f"segmenter.init=classifier: the run's classifier is not a {run.config.backbone.name}; "
                "pass the backbone it was trained with, or segmenter.init=imagenet"
            ) from None
    return network


def trained_network(run: Run) -> str:
    """The step of the run's ReCAM network, or of its classifier where there is none."""
    return "recam" if run.config.recam.enabled else "classifier"


def trained_backbone(run: Run) -> Backbone:
    """Backbone of that network."""
    return load_classifier(run.folder / trained_network(run) / "model.pt").backbone


def save_segmenter(
    run: Run, path: Path, network: SegmentationNetwork, *, protocol: Mapping[str, object] | None = None
) -> None:
    """Keep a segmenter as a model file, for `wsss.load_segmenter`, with the protocol it was trained by."""
    name, backbone, _ = architecture(run.config)
    settings = {
        "name": name,
        "backbone": {**backbone, "weights": "none"},
        "resize_long": run.config.segmenter.eval_resize_long,
        **network.options,
    }
    save_model(path, network, kind="segmenter", network=settings, classes=list(run.data.classes), protocol=protocol)
