"""Score a run's segmenter on the images of `data.val`; the run's own figures stay as they are.

Examples:
    python scripts/evaluate.py run=mine
    python scripts/evaluate.py experiment=demo
    python scripts/evaluate.py run=mine data.val=other_split
"""

from omegaconf import DictConfig
from rich.console import Console

from wsss.pipeline.cli import run_script, script
from wsss.pipeline.evaluate import evaluate
from wsss.pipeline.run import Run
from wsss.report import results_table


def evaluate_and_show(run: Run) -> None:
    """Figures of the segmenter, with their protocols."""
    Console().print(results_table(*evaluate(run)))


@script()
def main(options: DictConfig) -> None:
    """One table."""
    run_script(options, evaluate_and_show, next_command="report.py")


if __name__ == "__main__":
    main()
