"""Any architecture and encoder of segmentation_models.pytorch (the extra `smp`), as one of our networks."""

import difflib
import inspect
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss.errors import InputError, first_line
from wsss.models.backbones import fill_features, normalized
from wsss.models.norms import allow_lone_images
from wsss.models.segmentation import SegmentationNetwork
from wsss.models.weights import IMAGENET_MEAN, IMAGENET_STD, read_state_dict

# What building or running a combination that does not fit raises.
_MISFITS = (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, LookupError, NotImplementedError)


class SMPNetwork(SegmentationNetwork):
    """An encoder and decoder of segmentation_models.pytorch; images of any size, normalised inside.

    Args:
        encoder: what takes the backbone's place:
            name: as smp lists it (`resnet34`, `mit_b0`), or `tu-<any timm network>`;
            weights: `imagenet` or another set that smp has for it (downloaded, or packaged as for backbones), `none`,
                or the path of a state dict of the encoder (of the whole timm network for `tu-`), which is taken to
                expect ImageNet's normalisation where smp's own must be downloaded;
            output_stride: input pixels per cell of the last stage, where the architecture lets it be chosen.
        num_labels: classes with background, L.
        arch: class of smp, `Unet`, `FPN`, `Segformer`, `UPerNet`, …; in lower case too.

    Raises:
        InputError: if smp is not installed, knows no such name, or the two do not go together.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: dict[str, Any], num_labels: int, *, arch: str = "Unet") -> None:
        super().__init__()
        check_smp(arch, encoder)
        smp = _smp()
        cls = _architectures(smp)[arch.lower()]
        self.options = {"arch": cls.__name__}
        name, weights = encoder["name"], encoder["weights"]
        self.model = _build(smp, cls, num_labels, **encoder)
        allow_lone_images(self.model.decoder)
        mean, std = _normalisation(smp, self.model, name, weights)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        # What smp does not check itself: DPT halves its last stage, PAN pools it three times over.
        self.multiple = int(self.model.encoder.output_stride) * (2 if cls.__name__ == "DPT" else 1)
        self.smallest = 8 * self.multiple if cls.__name__ == "PAN" else None
        self._try(name)

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]  # an attribute elsewhere
        """The encoder."""
        return self.model.encoder  # type: ignore[no-any-return]

    def logits(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.logits`; at the images' size, as smp's heads give them."""
        height, width = images.shape[2:]
        padding = [self._padding(width), self._padding(height)]
        padded = F.pad(normalized(images, self.mean, self.std), (0, padding[0], 0, padding[1]))  # the mean colour
        return self.model(padded)[:, :, :height, :width]  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """See `SegmentationNetwork.forward`."""
        return self.logits(images).float()

    def _padding(self, side: int) -> int:
        padding = -side % self.multiple
        return padding if self.smallest is None else max(padding, self.smallest - side)

    def _try(self, encoder: str) -> None:
        """Run once, so that a combination that cannot work is told now."""
        was_training = self.training
        try:
            with torch.no_grad():
                self.eval().logits(torch.zeros(1, 3, 64, 64))
        except _MISFITS as error:
            arch = self.options["arch"]
            raise InputError(
                f"segmenter.encoder={encoder}: does not run in smp's {arch} at images of other sizes than its own "
                f"({first_line(error)}); choose another encoder"
            ) from error
        finally:
            self.train(was_training)


def check_smp(arch: str, encoder: dict[str, Any]) -> None:
    """Refuse names that smp does not know, without building anything.

    Raises:
        InputError: naming the nearest ones.
    """
    smp = _smp()
    architectures = _architectures(smp)
    if arch.lower() not in architectures:
        raise InputError(_unknown("arch", arch, [cls.__name__ for cls in architectures.values()]))
    name = encoder["name"]
    if name.startswith("tu-"):
        if not timm.is_model(name[3:]):
            raise InputError(_unknown("encoder", name, [f"tu-{model}" for model in timm.list_models()]))
    elif name not in smp.encoders.get_encoder_names():
        raise InputError(_unknown("encoder", name, smp.encoders.get_encoder_names()))
    if encoder.get("output_stride") is not None and not _takes_stride(architectures[arch.lower()]):
        raise InputError(
            f"segmenter.output_stride={encoder['output_stride']}: smp's {arch} has none to choose; set it to null"
        )


def _smp() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ModuleNotFoundError as error:
        if error.name != "segmentation_models_pytorch":
            raise
        raise InputError(
            "segmenter.name=smp needs `pip install segmentation-models-pytorch` (the extra smp); "
            "or choose segmenter=deeplab_v3plus"
        ) from None
    return segmentation_models_pytorch  # type: ignore[no-any-return]


def _architectures(smp: ModuleType) -> dict[str, Any]:
    """Lower-case name -> class."""
    return dict(smp.MODEL_ARCHITECTURES_MAPPING)


def _takes_stride(cls: Any) -> bool:
    return "encoder_output_stride" in inspect.signature(cls.__init__).parameters


def _unknown(option: str, value: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(value, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join([*known][:20])}"
    return f"segmenter.{option}={value}: smp has no such one; {hint}"


def _build(
    smp: ModuleType, cls: Any, num_labels: int, *, name: str, weights: str, output_stride: int | None = None
) -> Any:
    """The network with its encoder's weights."""
    options: dict[str, Any] = {} if output_stride is None else {"encoder_output_stride": output_stride}
    if cls.__name__ == "DPT":  # or it would take images of one size only
        options["dynamic_img_size"] = True
    is_listed = not name.startswith("tu-") and weights in smp.encoders.encoders[name]["pretrained_settings"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = cls(name, classes=num_labels, encoder_weights=weights if is_listed else None, **options)
    except OSError as error:
        raise InputError(
            f"segmenter.encoder_weights={weights}: those of {name} could not be fetched ({first_line(error)}); "
            "download a state dict elsewhere and give its path, or none"
        ) from error
    except _MISFITS as error:
        raise InputError(
            f"segmenter.encoder={name}: does not fit smp's {cls.__name__} ({first_line(error)}); choose others"
        ) from error
    if name.startswith("tu-"):
        fill_features(model.encoder.model, name[3:], weights, option="segmenter.encoder_weights")
    elif not is_listed and weights != "none":
        _fill(model.encoder, name, weights, sorted(smp.encoders.encoders[name]["pretrained_settings"]))
    return model


def _fill(encoder: nn.Module, name: str, weights: str, known: Iterable[str]) -> None:
    """Load an encoder's weights from a file."""
    remedy = f"give a state dict of smp's encoder, none, or one of {', '.join(known)}"
    if not Path(weights).is_file():
        raise InputError(f"segmenter.encoder_weights={weights}: neither weights of {name} nor a file; {remedy}")
    try:
        encoder.load_state_dict(read_state_dict(weights))
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise InputError(f"segmenter.encoder_weights={weights}: not weights of {name} ({detail}); {remedy}") from error


def _normalisation(smp: ModuleType, model: Any, name: str, weights: str) -> tuple[list[float], list[float]]:
    """Mean and deviation, of images in [0, 1], that the encoder's weights expect."""
    if name.startswith("tu-"):
        settings = model.encoder.model.pretrained_cfg
        return list(settings["mean"]), list(settings["std"])
    if weights not in smp.encoders.encoders[name]["pretrained_settings"]:
        return list(IMAGENET_MEAN), list(IMAGENET_STD)
    settings = smp.encoders.get_preprocessing_params(name, weights)  # fetched with the weights
    brightest = max(settings["input_range"])  # some expect images in [0, 255]
    return [m / brightest for m in settings["mean"]], [s / brightest for s in settings["std"]]
