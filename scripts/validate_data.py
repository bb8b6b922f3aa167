"""Look at every file of a data set: what it holds, what is odd, and what would stop a training.

Exit status 1 if there are errors. Writes outputs/<run>/data/index.html and tables beside it.

Examples:
    python scripts/validate_data.py data=folder data.root=photos
    python scripts/validate_data.py data=voc2012
    python scripts/validate_data.py data.root=photos data.classes=[bird,cow]
"""

import sys
from typing import TYPE_CHECKING

from wsss.pipeline.cli import script, tell_next

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script()
def main(options: "DictConfig") -> None:
    """A look, tables and a page."""
    from omegaconf import OmegaConf

    from wsss.pipeline.config import Config
    from wsss.pipeline.run import Run
    from wsss.pipeline.validate import validate

    config = OmegaConf.to_object(options)
    assert isinstance(config, Config)
    config.data.skip_bad = False
    if validate(Run(config)).errors:
        sys.exit(1)
    tell_next("run_pipeline.py")


if __name__ == "__main__":
    main()
