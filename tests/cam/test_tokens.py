"""Maps of vision transformers: tokens as a grid."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from wsss.cam import CAMExtractor, layer_cam, normalize
from wsss.cam.layers import stage_layers
from wsss.cam.tokens import TokenGrid, patch_size

IMAGES = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))


def vit(name: str = "vit_tiny_patch16_224", **options: object) -> nn.Module:
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 24, "num_classes": 5, "dynamic_img_size": True, **options}
    network: nn.Module = timm.create_model(name, **small).eval()
    return network


def test_tokens_become_rows_of_a_grid_and_tokens_again() -> None:
    grid = TokenGrid(prefix=1, height=2, width=3)
    tokens = torch.arange(7.0).view(1, 7, 1)
    prefix, cells = grid.split("x", tokens)
    assert prefix.flatten().tolist() == [0.0]
    assert cells.tolist() == [[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]
    assert torch.equal(grid.join(prefix, cells), tokens)
    with pytest.raises(ValueError, match="layer x: its output has 8 tokens, expected 7: 2 × 3 patches and 1 before"):
        grid.split("x", torch.zeros(1, 8, 1))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_the_map_of_tokens_is_that_of_their_gradients(name: str) -> None:
    network = vit(name)
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        kept.append(output)

    handle = network.get_submodule("blocks.0").register_forward_hook(keep)
    scores = network(IMAGES)
    (gradient,) = torch.autograd.grad(scores[0, 3] + scores[1, 1], kept[0])
    handle.remove()
    num_prefix = int(network.num_prefix_tokens)  # type: ignore[arg-type]
    pair = [t.detach()[:, num_prefix:].transpose(1, 2).unflatten(2, (2, 4)) for t in (kept[0], gradient)]
    maps = CAMExtractor(network, ["blocks.0"], "layer_cam")(IMAGES, [[3], [1]])["blocks.0"]
    torch.testing.assert_close(torch.cat(maps), layer_cam(*pair), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["grad_cam", "norm_grad", "score_cam"])
def test_layers_and_scales_work_as_of_other_networks(method: str) -> None:
    extractor = CAMExtractor(vit(), ["blocks.0", "blocks.1.norm1"], method)
    maps = extractor(IMAGES, [[0, 2], [1]])
    alone = extractor(IMAGES[1:], [[1]])
    for layer, drawn in maps.items():
        assert [m.shape for m in drawn] == [(2, 2, 4), (1, 2, 4)]
        torch.testing.assert_close(alone[layer][0], drawn[1], rtol=1e-3, atol=1e-6)
    scaled = extractor.multi_scale(IMAGES, [[0], [1]], scales=[1.0, 2.0])["blocks.0"]
    assert scaled[0].shape == (1, 8, 16)
    torch.testing.assert_close(scaled[0], normalize(scaled[0]))


def test_the_layer_of_a_transformer_is_the_last_one_that_patches_leave() -> None:
    assert stage_layers(vit(), IMAGES) == ["blocks.1.norm1"]
    assert stage_layers(nn.Sequential(vit()), IMAGES) == ["0.blocks.1.norm1"]
    assert patch_size(vit()) == (16, 16)
    assert patch_size(nn.Conv2d(3, 3, 1)) is None
