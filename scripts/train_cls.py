"""Train the classifier on image labels, then the ReCAM head (`recam=none` leaves it out).

Examples:
    python scripts/train_cls.py
    python scripts/train_cls.py run=mine data.root=path/to/VOC2012 recam.sce_weight=0.5
    python scripts/train_cls.py backbone=efficientnet_lite0 classifier.epochs=3
"""

from omegaconf import DictConfig

from wsss.pipeline.cli import run_script, script
from wsss.pipeline.train_classifier import train_classifiers


@script()
def main(options: DictConfig) -> None:
    """Both steps."""
    run_script(options, train_classifiers, next_command="make_seeds.py", shared=True)


if __name__ == "__main__":
    main()
