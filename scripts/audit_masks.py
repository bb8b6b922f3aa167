"""Look at a run's pseudo-masks: each class and image against the truth, or without it against the seeds and a CRF.

Writes outputs/<run>/audit/: index.html, classes.csv, images.csv, audit.json.

Examples:
    python scripts/audit_masks.py run=mine
    python scripts/audit_masks.py run=mine data=folder data.root=photos
    python scripts/audit_masks.py experiment=demo
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """An audit."""
    from wsss.pipeline.audit import audit_masks

    run_script(options, audit_masks)


if __name__ == "__main__":
    main()
