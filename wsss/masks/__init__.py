from wsss.masks.crf import (
    CRFParams,
    confident_mask,
    crf_marginals,
    crf_mask,
    dense_crf,
    require_pydensecrf,
    unary_from_labels,
)
from wsss.masks.labels import dataset_threshold, local_labels, otsu_threshold, to_labels

__all__ = [
    "CRFParams",
    "confident_mask",
    "crf_marginals",
    "crf_mask",
    "dataset_threshold",
    "dense_crf",
    "local_labels",
    "otsu_threshold",
    "require_pydensecrf",
    "to_labels",
    "unary_from_labels",
]
