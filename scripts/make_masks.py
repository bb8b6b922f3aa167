"""Turn seeds into pseudo-masks (dense CRF by default) and score them where there is truth.

Examples:
    python scripts/make_masks.py run=mine
    python scripts/make_masks.py run=mine masks=confident
    python scripts/make_masks.py run=mine masks=threshold masks.threshold=0.4
    python scripts/make_masks.py run=mine masks=irn
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """One step."""
    from wsss.pipeline.make_masks import make_masks

    run_script(options, make_masks, next_command="train_seg.py", shared=True)


if __name__ == "__main__":
    main()
