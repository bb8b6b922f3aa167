"""Train a segmenter (DeepLab v3+ by default) on the pseudo-masks and score it on the val images.

Examples:
    python scripts/train_seg.py run=mine
    python scripts/train_seg.py run=mine segmenter.supervised_twin=true
    python scripts/train_seg.py run=mine segmenter.init=classifier segmenter.epochs=20
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """One step, or two with the supervised twin."""
    from wsss.pipeline.self_training import train_segmenters

    run_script(options, train_segmenters, next_command="report.py", shared=True)


if __name__ == "__main__":
    main()
