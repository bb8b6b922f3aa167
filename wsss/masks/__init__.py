from wsss.masks.crf import (
    confident_mask,
    crf_marginals,
    crf_mask,
    dense_crf,
    join_confident,
    refine_batch,
    refine_labels,
    require_backend,
    unary_from_labels,
)
from wsss.masks.labels import dataset_threshold, local_labels, otsu_threshold, to_labels
from wsss.masks.lattice import Lattice, build_lattice
from wsss.masks.mean_field import MeanField
from wsss.masks.params import BACKENDS, CRFParams

__all__ = [
    "BACKENDS",
    "CRFParams",
    "Lattice",
    "MeanField",
    "build_lattice",
    "confident_mask",
    "crf_marginals",
    "crf_mask",
    "dataset_threshold",
    "dense_crf",
    "join_confident",
    "local_labels",
    "otsu_threshold",
    "refine_batch",
    "refine_labels",
    "require_backend",
    "to_labels",
    "unary_from_labels",
]
