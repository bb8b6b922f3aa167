"""What a run will take, step by step, before it is paid: time, memory and disk (docs/planning.md).

Examples:
    python scripts/plan.py experiment=demo
    python scripts/plan.py experiment=voc_recam
    python scripts/plan.py experiment=voc_recam hardware=eight_devices hardware.training_speed=20
    python scripts/plan.py data=folder data.root=photos plan.images=50000
    python scripts/plan.py experiment=demo plan.compare=outputs/demo
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from wsss.errors import InputError
from wsss.pipeline.cli import script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """A table, and plan.json."""
    from omegaconf import OmegaConf
    from rich.console import Console

    from wsss.pipeline.config import Config
    from wsss.pipeline.plan import make_plan, measured_run
    from wsss.pipeline.plan_tables import comparison_table, plan_json, plan_notes, plan_table
    from wsss.pipeline.sweep import is_job_of_sweep
    from wsss.writing import write_json

    config = OmegaConf.to_object(options)
    assert isinstance(config, Config)
    if config.reproduce is not None:
        raise InputError(f"reproduce={config.reproduce}: plan.py plans the options given, not a run; leave it out")
    if is_job_of_sweep():
        raise InputError("-m: plan.py measures this machine for one setting at a time; leave it out")
    folder = config.plan.compare
    measured = None if folder is None else measured_run(Path(folder))
    plan = make_plan(config)
    console = Console(highlight=False)
    console.print(plan_table(plan))
    for line in plan_notes(plan):
        console.print(line, markup=False)
    if measured is not None:
        console.print("", comparison_table(plan, measured))
    path = Path(config.plan.json or Path(config.outputs) / config.run / "plan.json")
    write_json(path, plan_json(plan))
    logging.getLogger(__name__).info("wrote %s", path)


if __name__ == "__main__":
    main()
