from wsss.cam.functions import cam, element_wise_cam, fuse, grad_cam, grad_cam_pp, layer_cam, normalize, resize
from wsss.cam.multiscale import merge_flips, published_maps, strided_size, sum_scales, with_flips

__all__ = [
    "cam",
    "element_wise_cam",
    "fuse",
    "grad_cam",
    "grad_cam_pp",
    "layer_cam",
    "merge_flips",
    "normalize",
    "published_maps",
    "resize",
    "strided_size",
    "sum_scales",
    "with_flips",
]
