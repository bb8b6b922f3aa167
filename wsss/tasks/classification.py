"""Train classifiers on image labels: BCE or softmax, and BCE + λ·SCE."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.utilities import dim_zero_cat

from wsss.data import Sample
from wsss.models.classifier import Classifier
from wsss.models.recam import PUBLISHED, ReCAMClassifier, ReCAMVariant, recam_loss
from wsss.tasks.optim import OptimizerFactory, PolyTask


class ClassifierTask(PolyTask):
    """Classification by image labels; validates by average precision.

    Args:
        loss: `bce` (multilabel soft margin), or `softmax`, the cross-entropy of images with one label each.
    """

    model: Classifier

    def __init__(
        self,
        model: Classifier,
        optimizer: OptimizerFactory,
        *,
        loss: Literal["bce", "softmax"] = "bce",
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, **{"head": model.head_parameters, **options})
        self.loss = loss
        # torchmetrics knows no single class; beside it goes one that never occurs.
        self.absent_classes = max(2 - model.fc1.out_channels, 0)
        num_classes = model.fc1.out_channels + self.absent_classes
        self.average_precision = MultilabelAveragePrecision(num_classes, average=None)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """The loss of the logits."""
        logits = self.model(batch.images)
        if self.loss == "softmax":
            loss = F.cross_entropy(logits, batch.labels.argmax(dim=1))
        else:
            loss = F.multilabel_soft_margin_loss(logits, batch.labels)
        self.log(f"train/{self.loss}", loss, batch_size=len(batch.images), prog_bar=True)
        return loss

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect scores; see `EqualLengths` for batches without ids."""
        # Probabilities: torchmetrics squashes logits batch by batch, and only where one lies outside [0, 1].
        logits, labels = self.model(batch.images), batch.labels.int()
        scores = logits.softmax(dim=1) if self.loss == "softmax" else logits.sigmoid()
        absent, own = (0, self.absent_classes), len(batch.ids)
        self.average_precision.update(F.pad(scores, absent)[:own], F.pad(labels, absent)[:own])

    def on_validation_epoch_end(self) -> None:
        """Mean over the classes that occur."""
        per_class = self.average_precision.compute()
        with self.average_precision.sync_context():
            occurs = dim_zero_cat(self.average_precision.target).any(dim=0)  # (N,)
        self.log("val/map", per_class[occurs].mean(), prog_bar=True)
        present = len(per_class) - self.absent_classes
        self.log_dict({f"val/ap_{index}": value for index, value in enumerate(per_class[:present])})
        self.average_precision.reset()


class ReCAMTask(ClassifierTask):
    """Train FC2 and the whole network below it: BCE plus `sce_weight` (λ in the paper) times FC2's loss, the SCE.

    With `sce_weight=0` this is the control, as many extra epochs of BCE alone.

    Args:
        sce_weight: λ.
        variant: what the loss is made of.
    """

    model: ReCAMClassifier

    def __init__(
        self,
        model: ReCAMClassifier,
        optimizer: OptimizerFactory,
        *,
        sce_weight: float = 1.0,
        variant: ReCAMVariant = PUBLISHED,
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, head=model.fc2.parameters(), **options)
        self.sce_weight = sce_weight
        self.variant = variant
        model.fc2.requires_grad_(sce_weight > 0)  # several processes would wait for a gradient that never comes

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """The loss of the features."""
        features = self.model.features(batch.images)  # (B, C, h, w)
        losses = recam_loss(
            features,
            self.model.fc1_weight,
            self.model.fc2_weight,
            batch.labels,
            weight=self.sce_weight,
            variant=self.variant,
        )
        self.log_dict({f"train/{k}": v for k, v in losses.items()}, batch_size=len(batch.images), prog_bar=True)
        return losses["loss"]
