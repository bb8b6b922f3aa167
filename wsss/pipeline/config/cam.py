"""Options of the seeds."""

from dataclasses import dataclass, field


@dataclass
class AdvConfig:
    """AdvCAM: the maps of images that climb the score of their class, added up; see `wsss.cam.climb`.

    Attributes:
        steps: how often an image is changed, 27 as published; 0: maps of the images as they are.
        step_size: ξ, of images divided by their standard deviation.
        weight: λ, of what holds back regions that are high already.
        threshold: τ, the share of a map's maximum above which they are.
    """

    steps: int = 0
    step_size: float = 0.008
    weight: float = 7.0
    threshold: float = 0.5


@dataclass
class CamConfig:
    """Seeds.

    Attributes:
        seed: kinds of map that are averaged to be the pipeline's seed; one named twice counts twice. Of the last
            stage: cam, recam (W1∘ReLU(W2)), recam_w1w2 (published), recam_fc1. Of any stages: grad_cam, grad_cam_pp,
            x_grad_cam, element_wise_cam, hires_cam, layer_cam, norm_grad, score_cam, c_mwp (networks of ReLUs only).
            Without ReCAM, `recam…` falls out and the others are the classifier's.
        extra: kinds exported and scored beside them, for comparison.
        scales: resize factors of the multi-scale maps of the last stage.
        flip: add the mirrored image at every scale.
        resize_long: longer side of the base image in pixels; default: the image's own size.
        stages: stages that kinds of any stages are drawn from.
        layer_scales: resize factors for them.
        target: the score they explain, GAP(f)·w with w = W1 (fc1), W1∘ReLU(W2) (recam) or W1∘W2 (recam_w1w2).
        fusion: how the stages are joined, mean or max.
        stage_weights: weights of that mean, one for each of `stages`; default: equal.
        tanh_stages: stages scaled by tanh(γ·M/max M) before fusion (LayerCAM's eq. 9).
        gamma: γ.
        keep_stages: also export and score each stage alone.
        drawn_stages: stages whose maps are exported before fusion, so that runs that differ in `stages` or fusion share
            them; default: maps are fused as they are drawn, and nothing is kept of them.
        grad_cam_pp_eps: see `wsss.cam.grad_cam_pp`.
        adv: climb before the maps are drawn, whatever their kinds.
        batch_size: images of one size that go through the network together.
        limit_images: draw the first so many images of a split only, to try a slow kind; masks need all.
        thresholds: number of background thresholds of the sweep, evenly spaced over [0, 1).
    """

    seed: list[str] = field(default_factory=lambda: ["element_wise_cam"])
    extra: list[str] = field(default_factory=lambda: ["cam", "recam", "recam_w1w2", "recam_fc1", "layer_cam"])
    scales: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0])
    flip: bool = True
    resize_long: int | None = None
    stages: list[str] = field(default_factory=lambda: ["stage3", "stage4", "stage5"])
    layer_scales: list[float] = field(default_factory=lambda: [0.5, 1.0, 1.5, 2.0])
    target: str = "fc1"
    fusion: str = "mean"
    stage_weights: list[float] | None = None
    tanh_stages: list[str] = field(default_factory=list)
    gamma: float = 2.0
    keep_stages: bool = False
    drawn_stages: list[str] | None = None
    grad_cam_pp_eps: float = 1e-12
    adv: AdvConfig = field(default_factory=AdvConfig)
    batch_size: int = 16
    limit_images: int | None = None
    thresholds: int = 100
