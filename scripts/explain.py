"""Draw what a classifier looks at in a photograph or a folder of them: maps of each stage, and fused.

Examples:
    python scripts/explain.py image=photo.jpg
    python scripts/explain.py image=photos model=convnext_tiny cam=grad_cam "classes=[tabby, Egyptian cat]"
    python scripts/explain.py image=photo.jpg model=outputs/demo/recam/model.pt "layers=[stage4,stage5]"
"""

import logging

from omegaconf import DictConfig, OmegaConf

from wsss.pipeline.cli import script
from wsss.pipeline.explain import ExplainConfig, explain


@script("explain")
def main(options: DictConfig) -> None:
    """Pictures and arrays."""
    config = OmegaConf.to_object(options)
    assert isinstance(config, ExplainConfig)
    for path in explain(config):
        logging.getLogger(__name__).info("wrote %s", path)


if __name__ == "__main__":
    main()
