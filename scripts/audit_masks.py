"""Look at a run's pseudo-masks: each class and image against the truth, or without it against the seeds and a CRF.

Writes outputs/<run>/audit/: index.html, classes.csv, images.csv, audit.json.

Examples:
    python scripts/audit_masks.py run=mine
    python scripts/audit_masks.py run=mine data=folder data.root=photos
"""

from omegaconf import DictConfig

from wsss.pipeline.audit import audit_masks
from wsss.pipeline.cli import run_script, script


@script()
def main(options: DictConfig) -> None:
    """An audit."""
    run_script(options, audit_masks)


if __name__ == "__main__":
    main()
