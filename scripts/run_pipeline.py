"""The whole pipeline: classifier, ReCAM, seeds, masks, segmenter, report. Finished steps are skipped.

Examples:
    python scripts/run_pipeline.py experiment=demo
    python scripts/run_pipeline.py run=mine data.root=path/to/VOC2012
    python scripts/run_pipeline.py run=mine recam=none masks=confident
    python scripts/run_pipeline.py reproduce=outputs/mine     # repeats a run, and compares
"""

import sys
from typing import TYPE_CHECKING

from wsss.pipeline.cli import print_results, run_script, script
from wsss.pipeline.processes import on_first

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from wsss.pipeline.run import Run


def run_and_show(run: "Run") -> None:
    """All steps, then the table."""
    from wsss.pipeline.run_all import run_pipeline

    run_pipeline(run)
    on_first(lambda: print_results(run))


@script()
def main(options: "DictConfig") -> None:
    """Everything, or everything again."""
    if options.reproduce is None:
        run_script(options, run_and_show, shared=True)
        return
    from hydra.core.hydra_config import HydraConfig

    from wsss.pipeline.reproduce import reproduce

    if not reproduce(options, HydraConfig.get().overrides.task):
        sys.exit(1)


if __name__ == "__main__":
    main()
