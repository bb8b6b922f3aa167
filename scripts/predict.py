"""Label photographs with a trained segmenter: palette PNGs, overlays, areas of each class (docs/segmenter_use.md).

Examples:
    python scripts/predict.py images=photo.jpg checkpoint=outputs/demo/segmenter/model.pt
    python scripts/predict.py images=photos checkpoint=outputs/demo/segmenter/model.pt out=labelled coco=polygons
    python scripts/predict.py "images=photos/**/*.jpg" checkpoint=model.pt inference=multi_scale_crf batch_size=8
"""

import sys
from typing import TYPE_CHECKING

from wsss.pipeline.cli import script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script("predict")
def main(options: "DictConfig") -> None:
    """A folder of outputs; exit status 1 if a photograph could not be read."""
    from omegaconf import OmegaConf

    from wsss.pipeline.config.scripts import PredictConfig
    from wsss.pipeline.predict import predict_images

    config = OmegaConf.to_object(options)
    assert isinstance(config, PredictConfig)
    if predict_images(config).faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
