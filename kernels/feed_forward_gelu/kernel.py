"""`feed_forward_gelu` in Triton, in two launches: layer norm, first product and GELU; second product and residual.

The normalised rows are never written: a program of the first kernel takes its rows' mean and deviation in two passes
over them, which the caches serve, and normalises each piece on its way into the product. One kernel for both products
would read all the weights in every program, which at a chunk's few rows costs more than the inner values' way through
memory.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.feed_forward_gelu.tuned import DOWN, UP
from antiphon.kernels.jit_functions import gelu, normed_product
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["rows"])
def _up(
    x,  # f[N, C]
    norm_weight,  # f[C]
    norm_bias,  # f[C]
    weight,  # f[F, C]
    bias,  # f[F]
    hidden,  # f[N, F]
    rows,
    channels,
    inner,
    eps,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    real, wide = row < rows, column < inner
    x_rows = x + row.to(tl.int64)[:, None] * channels
    acc = normed_product(
        x_rows, real, norm_weight, norm_bias, weight, column, wide, channels, eps, BLOCK_M, BLOCK_N, BLOCK_K
    )
    acc += tl.load(bias + column, mask=wide, other=0.0).to(tl.float32)[None, :]
    out = row.to(tl.int64)[:, None] * inner + column[None, :]
    tl.store(hidden + out, gelu(acc).to(hidden.dtype.element_ty), mask=real[:, None] & wide[None, :])


@triton.jit(do_not_specialize=["rows"])
def _down(
    hidden,  # f[N, F]
    weight,  # f[C, F]
    bias,  # f[C]
    x,  # f[N, C]
    y,  # f[N, C]
    rows,
    channels,
    inner,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    real, wide = row < rows, column < channels
    hidden_rows = hidden + row.to(tl.int64)[:, None] * inner
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for base in range(0, inner, BLOCK_K):
        at = base + depth
        deep = at < inner
        h = tl.load(hidden_rows + at[None, :], mask=real[:, None] & deep[None, :], other=0.0)
        w = tl.load(weight + column[None, :] * inner + at[:, None], mask=deep[:, None] & wide[None, :], other=0.0)
        acc = tl.dot(h, w, acc, input_precision="tf32x3")
    acc += tl.load(bias + column, mask=wide, other=0.0).to(tl.float32)[None, :]
    out = row.to(tl.int64)[:, None] * channels + column[None, :]
    mask = real[:, None] & wide[None, :]
    acc += tl.load(x + out, mask=mask, other=0.0).to(tl.float32)
    tl.store(y + out, acc.to(y.dtype.element_ty), mask=mask)


def feed_forward_gelu(
    x: torch.Tensor,  # f[N, C]
    norm_weight: torch.Tensor,  # f[C]
    norm_bias: torch.Tensor,  # f[C]
    weight_1: torch.Tensor,  # f[F, C]
    bias_1: torch.Tensor,  # f[F]
    weight_2: torch.Tensor,  # f[C, F]
    bias_2: torch.Tensor,  # f[C]
    *,
    eps: float,
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16."""
    check_dtype("x", x, *KERNEL_FLOATS)
    x, weight_1, weight_2 = x.contiguous(), weight_1.contiguous(), weight_2.contiguous()
    (rows, channels), inner = x.shape, len(weight_1)
    y = torch.empty_like(x)
    if not rows:
        return y
    hidden = x.new_empty(rows, inner)
    key = target_of(x.device), x.dtype.itemsize
    up, down = UP[key], DOWN[key]
    _up[(triton.cdiv(rows, up.rows), triton.cdiv(inner, up.columns))](
        x,
        norm_weight,
        norm_bias,
        weight_1,
        bias_1,
        hidden,
        rows,
        channels,
        inner,
        eps,
        BLOCK_M=up.rows,
        BLOCK_N=up.columns,
        BLOCK_K=up.depth,
        num_warps=up.warps,
        num_stages=up.stages,
    )
    _down[(triton.cdiv(rows, down.rows), triton.cdiv(channels, down.columns))](
        hidden,
        weight_2,
        bias_2,
        x,
        y,
        rows,
        channels,
        inner,
        BLOCK_M=down.rows,
        BLOCK_N=down.columns,
        BLOCK_K=down.depth,
        num_warps=down.warps,
        num_stages=down.stages,
    )
    return y
