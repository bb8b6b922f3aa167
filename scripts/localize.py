"""Find objects by the maps of a run's seeds: boxes against true ones, pixels, and the classifier within the boxes.

Writes outputs/<run>/localization/<split>/: scores.csv, curves.csv, boxes.csv, scores.json, boxes.png.

Examples:
    python scripts/localize.py run=mine
    python scripts/localize.py run=mine localization.split=val "localization.kinds=[cam,layer_cam]"
    python scripts/localize.py run=imagenet data=folder data.root=train localization.boxes=Annotations/CLS-LOC/train
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """Boxes."""
    from wsss.pipeline.localize import localize

    run_script(options, localize)


if __name__ == "__main__":
    main()
