"""Score segmentations: a run's segmenter, a model file, or label maps of any origin (docs/evaluation.md).

Examples:
    python scripts/evaluate.py run=mine
    python scripts/evaluate.py run=mine data.val=other_split inference=multi_scale
    python scripts/evaluate.py checkpoint=model.pt data.root=photos inference.window=513 inference.flip=true
    python scripts/evaluate.py predictions=folder masks=folder classes=classes.txt
    python scripts/evaluate.py predictions=folder masks=folder "classes=[bird,cow]" split=val.txt void=ignore
"""

import sys
from typing import TYPE_CHECKING

from wsss.pipeline.cli import run_script, script

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from wsss.pipeline.run import Run


def evaluate_and_show(run: "Run") -> None:
    """A table for each network."""
    from rich.console import Console

    from wsss.pipeline.evaluate import evaluate
    from wsss.pipeline.tables import evaluation_table

    for evaluation in evaluate(run):
        Console().print(evaluation_table(evaluation), "")


@script()
def main(options: "DictConfig") -> None:
    """Networks."""
    run_script(options, evaluate_and_show)


@script("evaluate")
def main_of_folders(options: "DictConfig") -> None:
    """Label maps on disk."""
    from omegaconf import OmegaConf
    from rich.console import Console

    from wsss.pipeline.config.scripts import FoldersConfig
    from wsss.pipeline.evaluate import evaluate_folders
    from wsss.pipeline.tables import evaluation_table

    config = OmegaConf.to_object(options)
    assert isinstance(config, FoldersConfig)
    Console().print(evaluation_table(evaluate_folders(config)))


if __name__ == "__main__":
    is_of_folders = any(option.startswith("predictions=") for option in sys.argv)
    (main_of_folders if is_of_folders else main)()
