"""`layer_norm_linear` in Triton: one launch for the norm and up to three projections.

The flow's rows are narrow and few: the norm and three products of the library would be four launches of which none
fills the card. A program takes its rows' mean and deviation in two passes over them, which the caches serve, and
normalises each piece on its way into the product. Tile sizes do not depend on the number of rows: a row comes out the
same bits in any company.
"""

from collections.abc import Sequence
from typing import Final

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.jit_functions import normed_product
from antiphon.kernels.layer_norm_linear.tuned import TILES
from antiphon.kernels.targets import target_of

_AT_ONCE: Final = 3  # projections of one launch: query, key and value


@triton.jit(do_not_specialize=["rows"])
def _layer_norm_linear(
    x,  # f[N, C]
    norm_weight,  # f[C]
    norm_bias,  # f[C]
    weight_1,  # f[WIDTH_1, C]
    weight_2,  # f[WIDTH_2, C], or any pointer
    weight_3,  # f[WIDTH_3, C], or any pointer
    y_1,  # f[N, WIDTH_1]
    y_2,  # f[N, WIDTH_2], or any pointer
    y_3,  # f[N, WIDTH_3], or any pointer
    rows,
    channels,
    x_stride,
    eps,
    WIDTH_1: tl.constexpr,
    WIDTH_2: tl.constexpr,
    WIDTH_3: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    # The projections' tiles of columns follow one another.
    tile = tl.program_id(1)
    first_of_2 = tl.cdiv(WIDTH_1, BLOCK_N)
    first_of_3 = first_of_2 + tl.cdiv(WIDTH_2, BLOCK_N)
    weight, y, width, first = weight_1, y_1, WIDTH_1, 0
    if tile >= first_of_3:
        weight, y, width, first = weight_3, y_3, WIDTH_3, first_of_3
    elif tile >= first_of_2:
        weight, y, width, first = weight_2, y_2, WIDTH_2, first_of_2
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = (tile - first) * BLOCK_N + tl.arange(0, BLOCK_N)
    real, wide = row < rows, column < width
    x_rows = x + row.to(tl.int64)[:, None] * x_stride
    acc = normed_product(
        x_rows, real, norm_weight, norm_bias, weight, column, wide, channels, eps, BLOCK_M, BLOCK_N, BLOCK_K
    )
    out = row.to(tl.int64)[:, None] * width + column[None, :]
    tl.store(y + out, acc.to(x.dtype.element_ty), mask=real[:, None] & wide[None, :])


def layer_norm_linear(
    x: torch.Tensor,  # f[N, C]
    norm_weight: torch.Tensor,  # f[C]
    norm_bias: torch.Tensor,  # f[C]
    weights: Sequence[torch.Tensor],  # each f[C_i, C]
    *,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, ...]:
    """As the reference, for float32, bfloat16 and float16."""
    check_dtype("x", x, *KERNEL_FLOATS)
    (rows, channels), tile = x.shape, TILES[target_of(x.device), x.element_size()]
    outputs = tuple(torch.empty(rows, len(weight), dtype=x.dtype, device=x.device) for weight in weights)
    for base in range(0, len(weights) if rows else 0, _AT_ONCE):
        some, ys = [w.contiguous() for w in weights[base : base + _AT_ONCE]], outputs[base : base + _AT_ONCE]
        widths = [*map(len, some), 0, 0][:_AT_ONCE]
        columns = sum(triton.cdiv(width, tile.columns) for width in widths)
        _layer_norm_linear[(triton.cdiv(rows, tile.rows), columns)](
            x,
            norm_weight,
            norm_bias,
            *(some[min(i, len(some) - 1)] for i in range(_AT_ONCE)),
            *(ys[min(i, len(ys) - 1)] for i in range(_AT_ONCE)),
            rows,
            channels,
            x.stride(0),
            eps,
            WIDTH_1=widths[0],
            WIDTH_2=widths[1],
            WIDTH_3=widths[2],
            BLOCK_M=tile.rows,
            BLOCK_N=tile.columns,
            BLOCK_K=tile.depth,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return outputs
