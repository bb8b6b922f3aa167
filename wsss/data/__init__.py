from wsss.data.checks import check_images, check_mask, check_masks
from wsss.data.datamodule import TrainValData, size_loader
from wsss.data.palette import encode_mask, palette, save_mask
from wsss.data.transforms import center_transform, eval_transform, train_transform
from wsss.data.voc import (
    DataDescription,
    Sample,
    VOCDataset,
    check_label_values,
    describe,
    label_table,
    read_image,
    read_mask,
    read_split,
)
from wsss.labels import VOID

__all__ = [
    "VOID",
    "DataDescription",
    "Sample",
    "TrainValData",
    "VOCDataset",
    "center_transform",
    "check_images",
    "check_label_values",
    "check_mask",
    "check_masks",
    "describe",
    "encode_mask",
    "eval_transform",
    "label_table",
    "palette",
    "read_image",
    "read_mask",
    "read_split",
    "save_mask",
    "size_loader",
    "train_transform",
]
