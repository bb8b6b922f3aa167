"""Export the train images' localisation maps (seeds) and score them where there is truth.

Examples:
    python scripts/make_seeds.py run=mine
    python scripts/make_seeds.py run=mine "cam.scales=[0.5,1,1.5]" cam.flip=false
    python scripts/make_seeds.py run=mine "cam.seed=[cam]" overwrite=true
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """One step."""
    from wsss.pipeline.make_seeds import make_seeds

    run_script(options, make_seeds, next_command="make_masks.py", shared=True)


if __name__ == "__main__":
    main()
