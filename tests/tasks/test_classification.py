"""What the classifier learns by and its validation reports; which parameters of ReCAM learn."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multilabel_average_precision

from wsss.data import Sample
from wsss.models import Classifier, ReCAMClassifier, ReCAMVariant, build_backbone
from wsss.models.recam import PUBLISHED, recam_loss
from wsss.tasks.classification import ClassifierTask, ReCAMTask


class Scores(nn.Module):
    """A classifier whose images are their own logits."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> ClassifierTask:
    task = ClassifierTask(Classifier(build_backbone("resnet18", weights="none"), 4), lambda groups: None)  # type: ignore[arg-type]
    task.model = Scores()  # type: ignore[assignment]
    return task


def validate(task: ClassifierTask, logits: Tensor, labels: Tensor, size: int) -> dict[str, float]:
    """What one epoch of validation logs, in batches of `size`."""
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign, assignment]
    task.log_dict = lambda values: logged.update({k: float(v) for k, v in values.items()})  # type: ignore[method-assign, assignment, misc, union-attr]
    for index, (x, y) in enumerate(zip(logits.split(size), labels.split(size), strict=True)):
        task.validation_step(Sample(images=x, labels=y, masks=None, ids=[""] * len(x)), index)
    task.on_validation_epoch_end()
    return logged


def test_the_loss_is_bce_or_the_cross_entropy_of_the_one_label(task: ClassifierTask) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 3.0]])
    labels = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1]])
    batch = Sample(images=logits, labels=labels, masks=None, ids=["", ""])
    task.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    signs = 2 * labels - 1
    assert float(task.training_step(batch, 0)) == pytest.approx(float(-(signs * logits).sigmoid().log().mean()))
    task.loss = "softmax"
    expected = -(logits.softmax(dim=1) * labels).sum(dim=1).log().mean()
    assert float(task.training_step(batch, 0)) == pytest.approx(float(expected))


def test_a_softmax_classifier_is_ranked_by_its_probabilities(task: ClassifierTask) -> None:
    # By logits the second image has more of class 0 than the first; by its share of the sum it has less.
    logits, labels = torch.tensor([[1.0, 0, 0, 0], [2.0, 9, 0, 0]]), torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]])
    assert validate(task, logits, labels, 2)["val/ap_0"] == pytest.approx(0.5)
    task.loss = "softmax"
    assert validate(task, logits, labels, 2)["val/ap_0"] == pytest.approx(1.0)


def test_map_is_over_the_classes_that_occur(task: ClassifierTask) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(12, 4), torch.randint(0, 2, (12, 4)).float()
    labels[:, 2] = 0
    logged = validate(task, logits, labels, 12)
    expected = multilabel_average_precision(logits.sigmoid(), labels.int(), 4, average=None)
    assert logged["val/map"] == pytest.approx(float(expected[[0, 1, 3]].mean()))


def test_map_does_not_depend_on_the_batches(task: ClassifierTask) -> None:
    # A batch whose logits all lie in [0, 1] must not be taken for probabilities.
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.9], [0.9, 0.1, 0.5, 0.2], [-3.0, 4.0, 0.7, -1.0], [2.0, -1.0, 0.6, 3.0]])
    labels = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 1, 1]]).float()
    assert validate(task, logits, labels, 2) == pytest.approx(validate(task, logits, labels, 4))


@pytest.mark.parametrize(
    ("sce_weight", "variant"),
    [
        (1.0, PUBLISHED),
        (0.0, PUBLISHED),
        (1.0, ReCAMVariant(bce_weight=0, softmax="present", pooling="mass")),
        (1.0, ReCAMVariant(bce_weight=0, fc2_loss="bce", detach_max=True)),
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [torch.zeros(2, 4), torch.eye(4)[:2]], ids=["no class", "one class"])
def test_what_the_optimiser_holds_has_a_gradient_that_processes_can_add_up(
    sce_weight: float, variant: ReCAMVariant, labels: Tensor
) -> None:
    network = ReCAMClassifier(build_backbone("test_resnet", weights="none"), 4)
    task = ReCAMTask(network, lambda groups: None, sce_weight=sce_weight, variant=variant)  # type: ignore[arg-type, return-value]
    task.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    task.training_step(Sample(torch.rand(2, 3, 32, 32), labels, None, ["", ""]), 0).backward()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert network.fc2.weight.requires_grad == (sce_weight > 0)


@pytest.mark.parametrize(
    "variant",
    [
        ReCAMVariant(bce_weight=0.5),
        ReCAMVariant(softmax="present"),
        ReCAMVariant(pooling="mass"),
        ReCAMVariant(fc2_loss="bce"),
        ReCAMVariant(fc2_loss="both"),
    ],
    ids=str,
)
def test_training_minimises_the_loss_of_its_variant(variant: ReCAMVariant) -> None:
    torch.manual_seed(0)
    network = ReCAMClassifier(build_backbone("test_resnet", weights="none"), 4, fc2_init="default").eval()
    images, labels = torch.rand(2, 3, 32, 32), torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0]])
    task = ReCAMTask(network, lambda groups: None, sce_weight=2.0, variant=variant)  # type: ignore[arg-type, return-value]
    task.log_dict = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    loss = task.training_step(Sample(images, labels, None, ["", ""]), 0)
    arguments = (network.features(images), network.fc1_weight, network.fc2_weight, labels)
    torch.testing.assert_close(loss, recam_loss(*arguments, weight=2.0, variant=variant)["loss"])
    assert abs(float(loss.detach()) - float(recam_loss(*arguments, weight=2.0)["loss"].detach())) > 1e-3
