"""Draw what a classifier looks at in a photograph or a folder of them: maps of each stage, and fused.

Examples:
    python scripts/explain.py image=photo.jpg
    python scripts/explain.py image=photos model=convnext_tiny cam=grad_cam "classes=[tabby, Egyptian cat]"
    python scripts/explain.py image=photo.jpg model=outputs/demo/recam/model.pt "layers=[stage4,stage5]"
"""

import logging

import hydra
from omegaconf import DictConfig, OmegaConf

from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.explain import ExplainConfig, explain


@hydra.main(version_base="1.3", config_path="../conf", config_name="explain")
def main(options: DictConfig) -> None:
    """Pictures and arrays."""
    with one_line_errors():
        config = OmegaConf.to_object(options)
        assert isinstance(config, ExplainConfig)
        for path in explain(config):
            logging.getLogger(__name__).info("wrote %s", path)


if __name__ == "__main__":
    main()
