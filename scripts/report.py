"""Write report/index.html from whatever the run's folder holds.

Examples:
    python scripts/report.py run=mine
    python scripts/report.py run=mine report.num_images=40
    python scripts/report.py experiment=demo
"""

from omegaconf import DictConfig

from wsss.pipeline.cli import run_script, script
from wsss.pipeline.report import make_report


@script()
def main(options: DictConfig) -> None:
    """One page."""
    run_script(options, make_report)


if __name__ == "__main__":
    main()
