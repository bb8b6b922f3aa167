from wsss.defaults import BACKENDS, CRFParams
from wsss.masks.affinity import edge_affinities, feature_affinities
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
from wsss.masks.graph_cut import graph_cut, graph_cut_labels, require_graph_cut
from wsss.masks.labels import dataset_threshold, local_labels, otsu_threshold, to_labels
from wsss.masks.lattice import Lattice, build_lattice
from wsss.masks.mean_field import MeanField
from wsss.masks.par import par
from wsss.masks.random_walk import affinity_walk, random_walk, walk_bytes

__all__ = [
    "BACKENDS",
    "CRFParams",
    "Lattice",
    "MeanField",
    "affinity_walk",
    "build_lattice",
    "confident_mask",
    "crf_marginals",
    "crf_mask",
    "dataset_threshold",
    "dense_crf",
    "edge_affinities",
    "feature_affinities",
    "graph_cut",
    "graph_cut_labels",
    "join_confident",
    "local_labels",
    "otsu_threshold",
    "par",
    "random_walk",
    "refine_batch",
    "refine_labels",
    "require_backend",
    "require_graph_cut",
    "to_labels",
    "unary_from_labels",
    "walk_bytes",
]
