"""`packed_conv1d` in Triton: a matrix product over (tap, channel) whose rows are gathered as they are loaded.

A program makes one tile of output rows and channels. It walks over the taps, and for each over the input channels; rows
beyond a sequence's ends are not loaded and count as zeros, so that nothing of a neighbour is ever seen. The epilogue
adds bias and residual, and puts the next layer's activation on what it writes. Tile sizes do not depend on the number
of rows: a row comes out the same bits in any company.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.jit_functions import expm1_below_0, gelu, sequence_of, snake_of
from antiphon.kernels.packed_conv1d.activations import Activation
from antiphon.kernels.packed_conv1d.reference import offsets_out
from antiphon.kernels.packed_conv1d.tuned import tile_for
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["sequences", "steps", "rows_out", "stride", "left", "dilation"])
def _conv1d(
    x,  # f[ΣT, C_in]
    weight,  # f[C_out, C_in, K] of any strides
    bias,  # f[C_out], or any pointer
    residual,  # f[rows_out, C_out], or any pointer
    total,  # f[rows_out, C_out], or any pointer
    alpha,  # f[C_out], or any pointer
    y,  # f[rows_out, C_out], or any pointer
    activated,  # f[rows_out, C_out], or any pointer
    cu_in,  # i32[S + 1]
    cu_out,  # i32[S + 1]
    sequences,
    steps,
    rows_out,
    stride,
    left,
    dilation,
    channels_in,
    channels_out,
    taps,
    weight_stride_out,
    weight_stride_in,
    weight_stride_tap,
    divisor,
    slope,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    HAS_TOTAL: tl.constexpr,
    HAS_DIVISOR: tl.constexpr,
    ACTIVATION: tl.constexpr,  # "none", "elu", "gelu" or "leaky_relu"
    HAS_SNAKE: tl.constexpr,
    HAS_RAW: tl.constexpr,
    WHOLE_DEPTH: tl.constexpr,  # BLOCK_K divides C_in
    WHOLE_WIDTH: tl.constexpr,  # BLOCK_N divides C_out
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    sequence = sequence_of(cu_out, rows, sequences, steps, 0)
    start = tl.load(cu_in + sequence)
    length = tl.load(cu_in + sequence + 1) - start
    # Rows beyond the last sequence's end read nothing: their first tap lies beyond every length.
    first = tl.where(rows < rows_out, (rows - tl.load(cu_out + sequence)) * stride - left, 1 << 29)
    wide = columns < channels_out
    # 64-bit: a pack's rows times its channels pass 2³¹ in long calls of many dialogues.
    x_rows = x + (start + tl.where(rows < rows_out, first, 0)).to(tl.int64) * channels_in
    w_columns = weight + columns * weight_stride_out
    blocks = tl.cdiv(channels_in, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for step in range(0, taps * blocks):
        tap = step // blocks
        channels = (step - tap * blocks) * BLOCK_K + depth
        at = first + tap * dilation
        inside = (at >= 0) & (at < length)
        a_mask = inside[:, None]
        if not WHOLE_DEPTH:
            a_mask = a_mask & (channels < channels_in)[None, :]
        a = tl.load(x_rows[:, None] + (tap * dilation * channels_in + channels)[None, :], mask=a_mask, other=0.0)
        b_at = w_columns[None, :] + (tap * weight_stride_tap + channels * weight_stride_in)[:, None]
        if WHOLE_DEPTH and WHOLE_WIDTH:
            b = tl.load(b_at)
        else:
            b = tl.load(b_at, mask=(channels < channels_in)[:, None] & wide[None, :], other=0.0)
        # tf32 three times over is float32 to about 1e-6, on tensor cores; narrower types multiply exactly.
        acc = tl.dot(a, b, acc, input_precision="tf32x3")
    if HAS_BIAS:
        acc += tl.load(bias + columns, mask=wide, other=0.0).to(tl.float32)[None, :]
    out = rows.to(tl.int64)[:, None] * channels_out + columns[None, :]
    writes = (rows < rows_out)[:, None] & wide[None, :]
    if HAS_RESIDUAL:
        acc += tl.load(residual + out, mask=writes, other=0.0).to(tl.float32)
    if HAS_TOTAL:
        acc += tl.load(total + out, mask=writes, other=0.0).to(tl.float32)
    if HAS_DIVISOR:
        acc = tl.div_rn(acc, divisor)
    if ACTIVATION == "elu":
        acc = tl.where(acc > 0, acc, expm1_below_0(acc))
    elif ACTIVATION == "gelu":
        acc = gelu(acc)
    elif ACTIVATION == "leaky_relu":
        acc = tl.where(acc > 0, acc, acc * slope)
    rounded = acc.to(x.dtype.element_ty)
    if HAS_RAW:
        tl.store(y + out, rounded, mask=writes)
    if HAS_SNAKE:
        rate = tl.load(alpha + columns, mask=wide, other=1.0).to(tl.float32)
        tl.store(activated + out, snake_of(rounded.to(tl.float32), rate[None, :]).to(x.dtype.element_ty), mask=writes)


def convolve(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    cu_out: torch.Tensor,  # i32[S + 1]
    rows_out: int,
    *,
    stride: int,
    left: int,
    dilation: int,
    residual: torch.Tensor | None = None,  # f[rows_out, C_out]
    total: torch.Tensor | None = None,  # f[rows_out, C_out]: added too, before the division
    divisor: int = 1,
    activation: Activation | None = None,
    slope: float = 0.0,  # of "leaky_relu"
    y: torch.Tensor | None = None,  # f[rows_out, C_out]: where to write what comes of it
    alpha: torch.Tensor | None = None,  # f[C_out]
    activated: torch.Tensor | None = None,  # f[rows_out, C_out]: where to write its Snake
) -> None:
    """One launch; `residual` or `total` may be the memory of `y`."""
    check_dtype("x", x, *KERNEL_FLOATS)
    if rows_out == 0:
        return
    channels_out, channels_in, taps = weight.shape
    tile = tile_for(target_of(x.device), x.dtype, channels_in, channels_out)
    x = x.contiguous()
    sequences = len(cu_seqlens) - 1
    _conv1d[(triton.cdiv(rows_out, tile.rows), triton.cdiv(channels_out, tile.columns))](
        x,
        weight,
        x if bias is None else bias,
        x if residual is None else residual.contiguous(),
        x if total is None else total,
        x if alpha is None else alpha,
        x if y is None else y,
        x if activated is None else activated,
        cu_seqlens,
        cu_out,
        sequences,
        (sequences - 1).bit_length(),
        rows_out,
        stride,
        left,
        dilation,
        channels_in,
        channels_out,
        taps,
        *weight.stride(),
        float(divisor),
        slope,
        HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None,
        HAS_TOTAL=total is not None,
        HAS_DIVISOR=divisor != 1,
        ACTIVATION=activation or "none",
        HAS_SNAKE=activated is not None,
        HAS_RAW=y is not None,
        WHOLE_DEPTH=channels_in % tile.depth == 0,
        WHOLE_WIDTH=channels_out % tile.columns == 0,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def packed_conv1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    out_rows: int | None = None,
    activation: Activation | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference. Where lengths change, S is over one and `out_rows` is not given, the total is read back."""
    left, right = padding
    shrinkage = left + right - dilation * (weight.shape[2] - 1) - 1
    cu_out = offsets_out(cu_seqlens, stride, shrinkage)
    if cu_out is cu_seqlens:
        rows = len(x)
    elif len(cu_seqlens) == 2:
        rows = max(0, (len(x) + shrinkage) // stride + 1)
    else:
        rows = int(cu_out[-1]) if out_rows is None else out_rows
    y = x.new_empty(rows, weight.shape[0])
    convolve(
        x,
        weight,
        bias,
        cu_seqlens,
        cu_out,
        rows,
        stride=stride,
        left=left,
        dilation=dilation,
        activation=activation,
        y=y,
    )
    return y, cu_out
