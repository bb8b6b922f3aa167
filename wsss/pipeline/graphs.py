"""Segmentation networks as graphs: torch.export, ONNX, int8."""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from wsss.errors import InputError, first_line
from wsss.models import SegmentationNetwork
from wsss.models.fixed_padding import with_fixed_padding

SMALLEST = 64  # sides in pixels from which on a graph holds
# Activations too: what a convolution returns is rounded after them, where its range is small.
QUANTIZED_OPERATORS = ["Conv", "MatMul", "Gemm", "Clip", "Relu"]
FLOAT_CONVOLUTIONS = 3  # the first ones, near the pixels, lose most in int8 and cost least

# RGB images (B, 3, H, W) uint8 -> logits (B, L, H, W) and labels (B, H, W).
Graph = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.uint8]]]


class Deployed(nn.Module):
    """What is exported: RGB images (B, 3, H, W) uint8 to logits (B, L, H, W) and labels (B, H, W) uint8."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = with_fixed_padding(network).eval().requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalisation is the network's own."""
        logits = self.network(images)
        return logits, logits.argmax(dim=1).to(torch.uint8)


def trace(network: SegmentationNetwork) -> ExportedProgram:
    """The graph of a network, for any batch, height and width (from `SMALLEST` on).

    Raises:
        InputError: if the network's own code depends on the size.
    """
    free = {0: Dim("batch"), 2: Dim("height", min=SMALLEST), 3: Dim("width", min=SMALLEST)}
    example = torch.zeros(2, 3, 97, 131, dtype=torch.uint8)
    try:
        program = torch.export.export(
            Deployed(network),
            (example,),
            dynamic_shapes={"images": free},
            prefer_deferred_runtime_asserts_over_guards=True,  # some that always hold are too hard for it to prove
        )
    except (RuntimeError, ValueError, TypeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
        raise InputError(f"this network has no graph for all sizes ({reason}); choose another backbone") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def write_onnx(program: ExportedProgram, path: Path, *, opset: int) -> None:
    """An ONNX file with the input `images` and the outputs `logits` and `labels`.

    Raises:
        InputError: if torch cannot write this opset.
    """
    import onnx

    names = {0: "batch", 2: "height", 3: "width"}
    with _quiet():
        try:
            written = torch.onnx.export(
                program,
                opset_version=opset,
                input_names=["images"],
                output_names=["logits", "labels"],
                dynamic_shapes={"images": names},
                external_data=False,
                verbose=False,
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(f"opset={opset}: ONNX export failed ({first_line(error)}); try opset=18") from error
    assert written is not None
    written.save(path)
    model = onnx.load(path)
    if model.opset_import[0].version != opset:
        raise InputError(f"opset={opset}: torch writes {model.opset_import[0].version} instead; pass that one")
    for described in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del described.metadata_props[:]  # traces of the code it comes from
    onnx.save(model, path)


def add_metadata(path: Path, facts: Mapping[str, object]) -> None:
    """Put facts into an ONNX file; what is no text as JSON."""
    import onnx

    model = onnx.load(path)
    texts = {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, path)


def quantize(source: Path, target: Path, method: str, pixels: Iterable[NDArray[np.uint8]]) -> None:
    """Write an ONNX model with convolutions in int8.

    Args:
        source: the float model.
        target: file to write.
        method: `static`: activations have ranges found on `pixels`; `dynamic`: found anew for each image.
        pixels: batches of images (B, 3, H, W) to calibrate by.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    convolutions = [node.name for node in onnx.load(source).graph.node if node.op_type == "Conv"]
    precise = convolutions[:FLOAT_CONVOLUTIONS]
    with _quiet():
        if method == "dynamic":
            quantize_dynamic(source, target, weight_type=QuantType.QUInt8, nodes_to_exclude=precise)
            return
        quantize_static(
            source,
            target,
            _Calibration(pixels),
            op_types_to_quantize=QUANTIZED_OPERATORS,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=precise,
            per_channel=True,
            reduce_range=True,  # seven bits of weight: eight overflow on CPUs without int8 dot products
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters tell of their own work, hundreds of lines."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


class _Calibration:
    """Images as onnxruntime asks for them."""

    def __init__(self, pixels: Iterable[NDArray[np.uint8]]) -> None:
        self.pixels = iter(pixels)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The input of the next run, None at the end."""
        images = next(self.pixels, None)
        return None if images is None else {"images": images}


def onnx_graph(path: Path) -> Graph:
    """An ONNX file as a function."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits", "labels"], {"images": images})


def pt2_graph(path: Path) -> Graph:
    """A file of torch.export as a function."""
    module = torch.export.load(path).module()

    @torch.inference_mode()
    def graph(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        logits, labels = module(torch.from_numpy(images))
        return logits.numpy(), labels.numpy()

    return graph
