"""Export a trained segmenter to ONNX (int8 too) or torch.export, checked on photographs (docs/segmenter_use.md).

Examples:
    python scripts/export.py checkpoint=outputs/demo/segmenter/model.pt out=segmenter.onnx
    python scripts/export.py checkpoint=outputs/demo/segmenter/model.pt out=segmenter.onnx quantize=static
    python scripts/export.py checkpoint=model.pt out=segmenter.pt2 images=photos
    python scripts/export.py checkpoint=model.pt out=segmenter.onnx quantize=static data=folder data.root=photos
"""

from typing import TYPE_CHECKING

from wsss.pipeline.cli import script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script("export")
def main(options: "DictConfig") -> None:
    """One file, or two with the quantised one."""
    from omegaconf import OmegaConf

    from wsss.pipeline.config.scripts import ExportConfig
    from wsss.pipeline.export_model import export_model

    config = OmegaConf.to_object(options)
    assert isinstance(config, ExportConfig)
    export_model(config)


if __name__ == "__main__":
    main()
