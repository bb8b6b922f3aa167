"""Train the classifier on image labels, then the ReCAM head (`recam=none` leaves it out).

Examples:
    python scripts/train_cls.py
    python scripts/train_cls.py run=mine data.root=path/to/VOC2012 recam.sce_weight=0.5
    python scripts/train_cls.py backbone=efficientnet_lite0 classifier.epochs=3
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """Both steps."""
    from wsss.pipeline.train_classifier import train_classifiers

    run_script(options, train_classifiers, next_command="make_seeds.py", shared=True)


if __name__ == "__main__":
    main()
