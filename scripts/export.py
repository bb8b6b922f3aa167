"""Export a trained segmenter to ONNX (int8 too) or torch.export, checked on photographs (docs/segmenter_use.md).

Examples:
    python scripts/export.py checkpoint=outputs/demo/segmenter/model.pt out=segmenter.onnx
    python scripts/export.py checkpoint=outputs/demo/segmenter/model.pt out=segmenter.onnx quantize=static
    python scripts/export.py checkpoint=model.pt out=segmenter.pt2 images=photos
    python scripts/export.py checkpoint=model.pt out=segmenter.onnx quantize=static data=folder data.root=photos
"""

from omegaconf import DictConfig, OmegaConf

from wsss.pipeline.cli import script
from wsss.pipeline.export_model import ExportConfig, export_model


@script("export")
def main(options: DictConfig) -> None:
    """One file, or two with the quantised one."""
    config = OmegaConf.to_object(options)
    assert isinstance(config, ExportConfig)
    export_model(config)


if __name__ == "__main__":
    main()
