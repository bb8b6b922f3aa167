"""Draw what a classifier looks at in a photograph or a folder of them: maps of each stage, and fused.

Examples:
    python scripts/explain.py image=photo.jpg
    python scripts/explain.py image=photos model=convnext_tiny cam=grad_cam "classes=[tabby, Egyptian cat]"
    python scripts/explain.py image=photo.jpg model=outputs/demo/recam/model.pt "layers=[stage4,stage5]"
"""

import logging
from typing import TYPE_CHECKING

from wsss.pipeline.cli import script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script("explain")
def main(options: "DictConfig") -> None:
    """Pictures and arrays."""
    from omegaconf import OmegaConf

    from wsss.pipeline.config.scripts import ExplainConfig
    from wsss.pipeline.explain import explain

    config = OmegaConf.to_object(options)
    assert isinstance(config, ExplainConfig)
    for path in explain(config):
        logging.getLogger(__name__).info("wrote %s", path)


if __name__ == "__main__":
    main()
