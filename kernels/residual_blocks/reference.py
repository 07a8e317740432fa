"""`residual_blocks` in plain torch: the operations it is made of, one after another."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from antiphon.kernels.packed_conv1d.reference import packed_conv1d
from antiphon.kernels.residual_blocks.layer import ResidualLayer
from antiphon.kernels.snake.reference import snake


def residual_blocks(
    x: torch.Tensor,  # f[ΣT, C]
    blocks: Sequence[Sequence[ResidualLayer]],
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    slope: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[ΣT, C]."""
    y = _one(x, blocks[0], cu_seqlens)
    for layers in blocks[1:]:
        y = y + _one(x, layers, cu_seqlens)
    if len(blocks) > 1:
        y = y / len(blocks)
    return y if slope == 1 else F.leaky_relu(y, slope)


def _one(
    x: torch.Tensor,  # f[ΣT, C]
    layers: Sequence[ResidualLayer],
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> torch.Tensor:
    """f[ΣT, C]."""
    for layer in layers:
        reach = layer.dilation * (layer.weight_1.shape[2] - 1) // 2
        y, _ = packed_conv1d(
            snake(x, layer.alpha_1),
            layer.weight_1,
            layer.bias_1,
            cu_seqlens,
            padding=(reach, reach),
            dilation=layer.dilation,
        )
        reach = (layer.weight_2.shape[2] - 1) // 2
        y, _ = packed_conv1d(snake(y, layer.alpha_2), layer.weight_2, layer.bias_2, cu_seqlens, padding=(reach, reach))
        x = y + x
    return x
