"""Options of sweeps."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SearchConfig:
    """A search by Optuna in place of all combinations: `hparams_search=…`.

    Attributes:
        objective: key of results.json that is to be high.
        trials: how many settings are tried, those of earlier starts counted in.
        prune: end a trial after its seeds where their mIoU is below the median of those of earlier trials.
        unpruned: so many trials first are never ended early.
        seed: random seed of the choice of settings.
    """

    objective: str = "masks/miou"
    trials: int = 20
    prune: bool = True
    unpruned: int = 4
    seed: int = 0


@dataclass
class SweepConfig:
    """Hydra's `-m`, see `wsss.pipeline.sweep.Sweep`; its options are `hydra.sweeper.…`."""

    _target_: str = "hydra_plugins.wsss.Sweep"
    params: dict[str, Any] = field(default_factory=dict)
    max_batch_size: int | None = None
    search: SearchConfig | None = None
