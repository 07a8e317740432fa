"""`residual_block` in plain torch: the operations it is made of, one after another."""

from collections.abc import Sequence

import torch

from antiphon.kernels.packed_conv1d.reference import packed_conv1d
from antiphon.kernels.residual_block.layer import ResidualLayer
from antiphon.kernels.snake.reference import snake


def residual_block(
    x: torch.Tensor,  # f[ΣT, C]
    layers: Sequence[ResidualLayer],
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> torch.Tensor:
    """Differentiable; the definition of correct. f[ΣT, C]."""
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
