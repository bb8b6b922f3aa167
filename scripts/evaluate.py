"""Score a run's segmenter on the val images again, and show all figures of the run.

Examples:
    python scripts/evaluate.py run=mine
    python scripts/evaluate.py experiment=demo
    python scripts/evaluate.py run=mine data.val=other_split
"""

import hydra
from omegaconf import DictConfig

from wsss.pipeline.cli import print_results, run_script
from wsss.pipeline.evaluate import evaluate
from wsss.pipeline.run import Run


def evaluate_and_show(run: Run) -> None:
    """Figures of the segmenter, then the whole table."""
    evaluate(run)
    print_results(run)


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def main(options: DictConfig) -> None:
    """One table."""
    run_script(options, evaluate_and_show, next_command="report.py")


if __name__ == "__main__":
    main()
