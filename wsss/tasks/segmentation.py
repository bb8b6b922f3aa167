"""Train a segmenter on masks, pseudo or true."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from wsss.cudnn import FamiliarSizes
from wsss.data import VOID, Sample
from wsss.metrics import confusion_matrix, iou
from wsss.models import Inference, SegmentationNetwork, predict_labels
from wsss.tasks.losses import mask_loss
from wsss.tasks.optim import OptimizerFactory, PolyTask


class PooledIoU(Metric):
    """mIoU from confusion counts pooled over images and processes; void truth left out."""

    full_state_update = False
    counts: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.add_state("counts", torch.zeros(num_labels, num_labels + 1, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add label maps of one shape."""
        counts = confusion_matrix(truth.cpu().numpy(), prediction.cpu().numpy(), self.num_labels)
        self.counts = self.counts + torch.from_numpy(counts).to(self.counts.device)

    def compute(self) -> Tensor:
        """Mean over the labels that occur, in [0, 1]."""
        return torch.tensor(float(iou(self.counts.cpu().numpy()).mean))


class SegmenterTask(PolyTask):
    """Semantic segmentation with pixel-wise cross-entropy; void pixels are ignored.

    Args:
        num_labels: classes with background, L.
        eval_resize_long: longer side, in pixels, at which validation images are seen; default: their own.
        label_weights: weight of a pixel by its label, (L,); default: all alike.
        bootstrap: see `mask_loss`.
        hardest: see `mask_loss`.

    Attributes:
        labelled: pixels of each label in the masks that a sample of this epoch's batches was trained on, (L,).
        predicted: pixels that the network gave each label there, (L,).
    """

    model: SegmentationNetwork
    label_weights: Tensor | None
    labelled: Tensor
    predicted: Tensor
    SAMPLED = 10  # one batch in so many is counted

    def __init__(
        self,
        model: SegmentationNetwork,
        optimizer: OptimizerFactory,
        *,
        num_labels: int,
        eval_resize_long: int | None = None,
        label_weights: Tensor | None = None,
        bootstrap: float = 0.0,
        hardest: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, head=model.head_parameters, **options)
        self.val_iou = PooledIoU(num_labels)
        self.inference = Inference(resize_long=eval_resize_long)
        self.sizes = FamiliarSizes(model)
        self.loss = partial(mask_loss, bootstrap=bootstrap, hardest=hardest)
        self.register_buffer("label_weights", label_weights, persistent=False)
        for name in ("labelled", "predicted"):
            self.register_buffer(name, torch.zeros(num_labels, dtype=torch.long), persistent=False)

    def on_train_epoch_start(self) -> None:
        """Count anew."""
        self.labelled.zero_()
        self.predicted.zero_()

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Mean loss over the network's outputs."""
        outputs = self.model.training_logits(batch.images)  # each (B, L, H, W)
        loss_of = partial(self.loss, label_weights=self.label_weights, confidence=batch.confidence)
        loss = torch.stack([loss_of(logits, batch.masks) for logits in outputs]).mean()
        self.log("train/ce", loss, batch_size=len(batch.images), prog_bar=True)
        if batch_idx % self.SAMPLED == 0:
            self._count(outputs[0].detach(), batch.masks)
        return loss

    def _count(self, logits: Tensor, masks: Tensor) -> None:
        known = masks != VOID
        length = len(self.labelled)
        self.labelled += masks[known].bincount(minlength=length)
        self.predicted += logits.argmax(dim=1)[known].bincount(minlength=length)

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect label maps of whole images; see `EqualLengths` for batches without ids."""
        with self.sizes.of(batch.images):
            predicted, own = predict_labels(self.model, batch.images, self.inference), len(batch.ids)
        self.val_iou.update(predicted[:own], batch.masks[:own])

    def on_validation_epoch_end(self) -> None:
        """Pooled mIoU."""
        self.log("val/miou", self.val_iou.compute() * 100, prog_bar=True)
        self.val_iou.reset()
