"""`residual_block` in Triton: one launch a convolution, whose epilogue makes the next one's input.

The first convolution of a layer writes Snake of its sums alone; the second adds what came into the layer and writes the
sum, and Snake of it where another layer follows. So values pass through memory once between two convolutions.
"""

from collections.abc import Sequence

import torch

from antiphon.kernels.packed_conv1d.kernel import convolve
from antiphon.kernels.residual_block.layer import ResidualLayer
from antiphon.kernels.snake.kernel import snake


def residual_block(
    x: torch.Tensor,  # f[ΣT, C]
    layers: Sequence[ResidualLayer],
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16."""
    x = x.contiguous()
    rows = len(x)
    ready = snake(x, layers[0].alpha_1)  # the next convolution's input
    between, sums = torch.empty_like(x), torch.empty_like(x)
    for n, layer in enumerate(layers):
        convolve(
            ready,
            layer.weight_1,
            layer.bias_1,
            cu_seqlens,
            cu_seqlens,
            rows,
            stride=1,
            left=layer.dilation * (layer.weight_1.shape[2] - 1) // 2,
            dilation=layer.dilation,
            alpha=layer.alpha_2,
            activated=between,
        )
        more = n + 1 < len(layers)
        convolve(
            between,
            layer.weight_2,
            layer.bias_2,
            cu_seqlens,
            cu_seqlens,
            rows,
            stride=1,
            left=(layer.weight_2.shape[2] - 1) // 2,
            dilation=1,
            residual=x if n == 0 else sums,
            y=sums,
            alpha=layers[n + 1].alpha_1 if more else None,
            activated=ready if more else None,
        )
    return sums
