"""`packed_conv_transpose1d` in Triton: one matrix product for each phase of the stride, over its own taps.

Output rows of one phase, `(o + padding) mod stride`, take the same taps of the kernel, so the products of a phase are
those of a plain convolution with every stride-th tap, and nothing is multiplied by the zeros between rows. A program
makes a tile of one phase's rows; each sequence has as many *places* as input rows and some beyond, of which those that
fall outside its output are not written.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.jit_functions import sequence_of
from antiphon.kernels.packed_conv1d.tuned import tile_for
from antiphon.kernels.packed_conv_transpose1d.reference import offsets_out
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["sequences", "steps", "places", "padding"])
def _conv_transpose1d(
    x,  # f[ΣT, C_in]
    weight,  # f[C_in, C_out, K] of any strides
    bias,  # f[C_out], or any pointer
    y,  # f[ΣT_out, C_out]
    cu_in,  # i32[S + 1]
    cu_out,  # i32[S + 1]
    sequences,
    steps,
    places,  # ΣT + S · surplus
    padding,
    channels_in,
    channels_out,
    weight_stride_in,
    weight_stride_out,
    weight_stride_tap,
    TAPS: tl.constexpr,
    STRIDE: tl.constexpr,
    SURPLUS: tl.constexpr,  # places of a sequence beyond its input rows
    HAS_BIAS: tl.constexpr,
    WHOLE_DEPTH: tl.constexpr,  # BLOCK_K divides C_in
    WHOLE_WIDTH: tl.constexpr,  # BLOCK_N divides C_out
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    place = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    phase = tl.program_id(2)
    depth = tl.arange(0, BLOCK_K)
    sequence = sequence_of(cu_in, place, sequences, steps, SURPLUS)
    start = tl.load(cu_in + sequence)
    length = tl.load(cu_in + sequence + 1) - start
    out_start = tl.load(cu_out + sequence)
    out_length = tl.load(cu_out + sequence + 1) - out_start
    newest = place - start - sequence * SURPLUS  # the input row that meets the phase's first tap
    out = newest * STRIDE + phase - padding
    written = (place < places) & (out >= 0) & (out < out_length)
    wide = columns < channels_out
    x_rows = x + (start + newest).to(tl.int64) * channels_in
    w_columns = weight + columns * weight_stride_out
    blocks = tl.cdiv(channels_in, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for step in range(0, tl.cdiv(TAPS, STRIDE) * blocks):
        back = step // blocks
        channels = (step - back * blocks) * BLOCK_K + depth
        at = newest - back
        inside = written & (at >= 0) & (at < length)
        a_mask = inside[:, None]
        if not WHOLE_DEPTH:
            a_mask = a_mask & (channels < channels_in)[None, :]
        a = tl.load(x_rows[:, None] + (channels - back * channels_in)[None, :], mask=a_mask, other=0.0)
        tap = phase + back * STRIDE
        b_at = w_columns[None, :] + (channels * weight_stride_in + tap * weight_stride_tap)[:, None]
        if WHOLE_DEPTH and WHOLE_WIDTH and TAPS % STRIDE == 0:
            b = tl.load(b_at)
        else:
            b = tl.load(b_at, mask=((channels < channels_in) & (tap < TAPS))[:, None] & wide[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision="tf32x3")
    if HAS_BIAS:
        acc += tl.load(bias + columns, mask=wide, other=0.0).to(tl.float32)[None, :]
    to = y + (out_start + out).to(tl.int64)[:, None] * channels_out + columns[None, :]
    tl.store(to, acc.to(y.dtype.element_ty), mask=written[:, None] & wide[None, :])


def upsample(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    cu_out: torch.Tensor,  # i32[S + 1]: what each sequence keeps, from its first row
    rows_out: int,
    *,
    stride: int,
    padding: int,
) -> torch.Tensor:
    """One launch: f[rows_out, C_out]. Nothing is read from the device."""
    check_dtype("x", x, *KERNEL_FLOATS)
    x = x.contiguous()
    channels_in, channels_out, taps = weight.shape
    y = x.new_empty(rows_out, channels_out)
    if rows_out == 0:
        return y
    # Row o of T_out = (T − 1) · stride − 2 · padding + K stands at place (o + padding) // stride, below this:
    surplus = max(0, (taps - padding - 1) // stride)
    sequences = len(cu_seqlens) - 1
    places = len(x) + sequences * surplus
    tile = tile_for(target_of(x.device), x.dtype, channels_in, channels_out)
    _conv_transpose1d[(triton.cdiv(places, tile.rows), triton.cdiv(channels_out, tile.columns), stride)](
        x,
        weight,
        x if bias is None else bias,
        y,
        cu_seqlens,
        cu_out,
        sequences,
        (sequences - 1).bit_length(),
        places,
        padding,
        channels_in,
        channels_out,
        *weight.stride(),
        TAPS=taps,
        STRIDE=stride,
        SURPLUS=surplus,
        HAS_BIAS=bias is not None,
        WHOLE_DEPTH=channels_in % tile.depth == 0,
        WHOLE_WIDTH=channels_out % tile.columns == 0,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return y


def packed_conv_transpose1d(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_in, C_out, K]
    bias: torch.Tensor | None,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    stride: int,
    padding: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference. Where K − 2 · padding is not the stride and S is over one, the output's rows are read back."""
    cu_out = offsets_out(cu_seqlens, weight.shape[2], stride, padding)
    longer = weight.shape[2] - 2 * padding - stride
    if longer == 0:
        rows = len(x) * stride
    elif len(cu_seqlens) == 2:
        rows = len(x) * stride + longer if len(x) else 0
    else:
        rows = int(cu_out[-1])
    return upsample(x, weight, bias, cu_seqlens, cu_out, rows, stride=stride, padding=padding), cu_out
