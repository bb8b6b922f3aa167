from wsss.data.boxes import Boxes, boxes_in_mask, boxes_in_xml
from wsss.data.cache import ImageCache
from wsss.data.checks import Finding, ImageFacts, Survey, check_mask, check_masks, count_labels, survey
from wsss.data.datamodule import TrainValData, derived_seed, loader_processes, size_loader
from wsss.data.dataset import ImageDataset, Sample
from wsss.data.description import VOC_CLASSES, DataDescription, describe, image_ids, read_split
from wsss.data.files import read_mask
from wsss.data.image_labels import check_label_values, label_table, read_labels
from wsss.data.palette import encode_mask, save_mask
from wsss.data.split import stratified_split
from wsss.data.table import read_table
from wsss.data.transforms import center_transform, eval_transform, train_transform
from wsss.labels import VOID, palette
from wsss.photographs import image_size, read_image

__all__ = [
    "VOC_CLASSES",
    "VOID",
    "Boxes",
    "DataDescription",
    "Finding",
    "ImageCache",
    "ImageDataset",
    "ImageFacts",
    "Sample",
    "Survey",
    "TrainValData",
    "boxes_in_mask",
    "boxes_in_xml",
    "center_transform",
    "check_label_values",
    "check_mask",
    "check_masks",
    "count_labels",
    "derived_seed",
    "describe",
    "encode_mask",
    "eval_transform",
    "image_ids",
    "image_size",
    "label_table",
    "loader_processes",
    "palette",
    "read_image",
    "read_labels",
    "read_mask",
    "read_split",
    "read_table",
    "save_mask",
    "size_loader",
    "stratified_split",
    "survey",
    "train_transform",
]
