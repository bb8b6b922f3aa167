"""Label maps to and from the formats that annotation tools, servers and other trainers read."""

from wsss.exports.coco import read_coco, write_coco
from wsss.exports.maps import LabelMaps
from wsss.exports.png import read_pngs, write_pngs
from wsss.exports.regions import outline, regions
from wsss.exports.voc import write_voc
from wsss.exports.yolo import write_yolo

__all__ = [
    "LabelMaps",
    "outline",
    "read_coco",
    "read_pngs",
    "regions",
    "write_coco",
    "write_pngs",
    "write_voc",
    "write_yolo",
]
