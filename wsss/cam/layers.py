"""Which layers of an unknown network are worth a map."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wsss.cam.recording import evaluating
from wsss.cam.tokens import transformer


def stage_layers(model: nn.Module, images: Tensor, *, min_stride: int = 4, min_cells: int = 2) -> list[str]:
    """The last module of each resolution, shallow to deep: what other networks call stages.

    A vision transformer has one resolution. Its layer is the norm that the last block's attention looks at: beyond
    it, patches no longer reach a class token.

    A layer before a stride would do too, but the gradient that comes back through a strided convolution is chequered;
    the end of a stage has it least, and its maps are best joined by a mean with deeper ones.

    Args:
        model: any network that takes `images`.
        images: one or more, (B, 3, H, W).
        min_stride: finer maps are left out.
        min_cells: maps with fewer rows or columns, such as pooled features, are left out.

    Returns:
        Names as in `model.named_modules()`.
    """
    of_transformer = _last_norm(model)
    if of_transformer is not None:
        return [of_transformer]
    last: dict[tuple[int, int], str] = {}  # the outermost: what lies deeper may open the next stage's first block

    def hook_of(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(images):
                size = (output.shape[2], output.shape[3])
                stride = min(images.shape[2] / size[0], images.shape[3] / size[1])
                is_outermost = size not in last or name.count(".") <= last[size].count(".")
                if min(size) >= min_cells and round(stride) >= min_stride and is_outermost:
                    last[size] = name

        return hook

    layers = [(n, m) for n, m in model.named_modules() if n and not isinstance(m, nn.AdaptiveAvgPool2d)]
    handles = [module.register_forward_hook(hook_of(name)) for name, module in layers]
    try:
        with torch.no_grad(), evaluating(model):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return [last[size] for size in sorted(last, reverse=True)]


def _last_norm(model: nn.Module) -> str | None:
    """Name of a vision transformer's last norm before attention."""
    network = transformer(model)
    if network is None:
        return None
    names = [name for name, _ in network.named_modules() if name.startswith("blocks.") and name.endswith(".norm1")]
    prefix = next(name for name, module in model.named_modules() if module is network)
    return f"{prefix}.{names[-1]}".removeprefix(".") if names else None
