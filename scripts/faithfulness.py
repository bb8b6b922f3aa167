"""Measure how far a run's maps tell what its classifier looks at: every kind side by side, on the same images.

Writes outputs/<run>/faithfulness/<split>/: scores.csv, road.csv, scores.json, gradient_variance.csv and its plot.

Examples:
    python scripts/faithfulness.py run=mine
    python scripts/faithfulness.py run=mine faithfulness.split=val faithfulness.limit_images=200
    python scripts/faithfulness.py run=mine "faithfulness.kinds=[cam,layer_cam]" faithfulness.network=classifier
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """Figures of maps."""
    from wsss.pipeline.faithfulness import faithfulness

    run_script(options, faithfulness)


if __name__ == "__main__":
    main()
