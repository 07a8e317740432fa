"""`residual_blocks` in Triton: one launch a convolution, whose epilogue makes the next one's input.

The first convolution of a layer writes Snake of its sums alone; the second adds what came into the layer and writes the
sum, and Snake of it where another layer follows. The last of a block adds the blocks before it, and the last of all
divides and activates. So values pass through memory once between two convolutions.
"""

from collections.abc import Sequence

import torch

from antiphon.kernels.packed_conv1d.kernel import convolve
from antiphon.kernels.residual_blocks.layer import ResidualLayer
from antiphon.kernels.snake.kernel import snake


def residual_blocks(
    x: torch.Tensor,  # f[ΣT, C]
    blocks: Sequence[Sequence[ResidualLayer]],
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    slope: float,
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16; nothing is read from the device."""
    x = x.contiguous()
    between, sums, y = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
    for b, layers in enumerate(blocks):
        ready = snake(x, layers[0].alpha_1)  # the next convolution's input
        for n, layer in enumerate(layers):
            convolve(
                ready,
                layer.weight_1,
                layer.bias_1,
                cu_seqlens,
                cu_seqlens,
                len(x),
                stride=1,
                left=layer.dilation * (layer.weight_1.shape[2] - 1) // 2,
                dilation=layer.dilation,
                alpha=layer.alpha_2,
                activated=between,
            )
            ends = n + 1 == len(layers)
            ends_all = ends and b + 1 == len(blocks)
            convolve(
                between,
                layer.weight_2,
                layer.bias_2,
                cu_seqlens,
                cu_seqlens,
                len(x),
                stride=1,
                left=(layer.weight_2.shape[2] - 1) // 2,
                dilation=1,
                residual=x if n == 0 else sums,
                total=y if ends and b > 0 else None,
                divisor=len(blocks) if ends_all else 1,
                activation="leaky_relu" if ends_all and slope != 1 else None,
                slope=slope,
                y=y if ends else sums,
                alpha=None if ends else layers[n + 1].alpha_1,
                activated=None if ends else ready,
            )
    return y
