"""Train a segmenter on masks, pseudo or true."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from wsss.data import VOID, Sample
from wsss.metrics import confusion_matrix, iou
from wsss.models import Inference, SegmentationNetwork, predict_labels
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
    """Semantic segmentation with pixel-wise cross-entropy; void pixels are ignored."""

    model: SegmentationNetwork

    def __init__(
        self,
        model: SegmentationNetwork,
        optimizer: OptimizerFactory,
        *,
        num_labels: int,
        eval_resize_long: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, optimizer, head=model.head_parameters, **options)
        self.val_iou = PooledIoU(num_labels)
        self.eval_resize_long = eval_resize_long

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Mean cross-entropy over the pixels that are not void."""
        logits = self.model(batch.images)  # (B, L, H, W)
        known = (batch.masks != VOID).sum()
        total = F.cross_entropy(logits, batch.masks, ignore_index=VOID, reduction="sum")
        loss = total / known.clamp(min=1)  # a batch of void alone gives 0, not NaN
        self.log("train/ce", loss, batch_size=len(batch.images), prog_bar=True)
        return loss

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Collect label maps of whole images."""
        inference = Inference(resize_long=self.eval_resize_long)
        self.val_iou.update(predict_labels(self.model, batch.images, inference), batch.masks)

    def on_validation_epoch_end(self) -> None:
        """Pooled mIoU."""
        self.log("val/miou", self.val_iou.compute() * 100, prog_bar=True)
        self.val_iou.reset()
