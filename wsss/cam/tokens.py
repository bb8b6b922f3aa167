"""Vision transformers: the tokens of the patches, laid out as the map that they are."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class TokenGrid(NamedTuple):
    """How tokens (B, T, C) hold a map: first `prefix` tokens that are no patches, then the rows of a grid.

    Attributes:
        prefix: class, distillation and register tokens.
        height: rows of patches.
        width: patches in a row.
    """

    prefix: int
    height: int
    width: int

    def split(self, layer: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C) to the prefix (B, P, C) and the patches as a map (B, C, h, w). Inverse: `join`.

        Raises:
            ValueError: if there are more or fewer tokens; `layer` is who put them out.
        """
        expected = self.prefix + self.height * self.width
        if tokens.shape[1] != expected:
            raise ValueError(
                f"layer {layer}: its output has {tokens.shape[1]} tokens, expected {expected}: "
                f"{self.height} × {self.width} patches and {self.prefix} before them"
            )
        patches = tokens[:, self.prefix :].transpose(1, 2)  # (B, C, hw)
        return tokens[:, : self.prefix], patches.unflatten(2, (self.height, self.width))

    def join(self, prefix: Tensor, cells: Tensor) -> Tensor:
        """Prefix (B, P, C) and map (B, C, h, w) to tokens (B, T, C)."""
        return torch.cat([prefix, cells.flatten(2).transpose(1, 2)], dim=1)


def token_grid(model: nn.Module, images: Tensor) -> TokenGrid | None:
    """The grid of timm's vision transformers (ViT, DeiT and kin) for images (B, 3, H, W); None for other networks."""
    network = transformer(model)
    if network is None:
        return None
    height, width = network.patch_embed.dynamic_feat_size((images.shape[2], images.shape[3]))  # type: ignore[operator, union-attr]
    return TokenGrid(int(network.num_prefix_tokens), int(height), int(width))  # type: ignore[arg-type]


def patch_size(model: nn.Module) -> tuple[int, int] | None:
    """Height and width of a vision transformer's patches, of which an image holds a whole number; None for others."""
    network = transformer(model)
    return None if network is None else tuple(network.patch_embed.patch_size)  # type: ignore[arg-type, return-value, union-attr]


def transformer(model: nn.Module) -> nn.Module | None:
    """The vision transformer in a network, if there is one that keeps its tokens in one sequence."""
    for module in model.modules():
        embedding = getattr(module, "patch_embed", None)
        if hasattr(module, "num_prefix_tokens") and hasattr(embedding, "dynamic_feat_size"):
            return module
    return None
