"""`conv_norm_mish` in Triton, in two launches: convolution with each tile's statistics, then normalisation and Mish.

Tiles are counted from each sequence's start, so that none holds rows of two sequences and a sequence is cut into the
same tiles in any company. A tile leaves, for each channel, the mean of its rows and the sum of their squared distances
from it; the second kernel merges those of a sequence and group in a fixed order (Chan et al. 1979), so there are no
atomics and no cancellation, and a pack of N equals N packs of one to the last bit.
"""

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.conv_norm_mish.tuned import NORM_ROWS, NORM_WARPS, PARTS, tile_for
from antiphon.kernels.targets import target_of


@triton.jit(do_not_specialize=["tiles"])
def _convolve(
    x,  # f[ΣT, C_in]
    weight,  # f[C_out, C_in, 3] of any strides
    bias,  # f[C_out]
    added,  # f[ΣT, C_out] of any row stride, or any pointer
    cu_seqlens,  # i32[S + 1]
    sums,  # f32[ΣT, C_out]
    means,  # f32[S · tiles, C_out]
    squares,  # f32[S · tiles, C_out]
    tiles,  # of the longest sequence
    channels_in,
    channels_out,
    weight_stride_out,
    weight_stride_in,
    weight_stride_tap,
    added_stride,
    HAS_ADDED: tl.constexpr,
    TAPS: tl.constexpr,
    WHOLE_DEPTH: tl.constexpr,  # BLOCK_K divides C_in
    WHOLE_WIDTH: tl.constexpr,  # BLOCK_N divides C_out
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    sequence = tl.program_id(0) // tiles
    first = (tl.program_id(0) - sequence * tiles) * BLOCK_M
    start = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - start
    if first >= length:
        return
    rows = first + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    depth = tl.arange(0, BLOCK_K)
    wide = columns < channels_out
    x_rows = x + (start + rows - TAPS // 2).to(tl.int64) * channels_in
    w_columns = weight + columns * weight_stride_out
    blocks = tl.cdiv(channels_in, BLOCK_K)
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for step in range(0, TAPS * blocks):
        tap = step // blocks
        channels = (step - tap * blocks) * BLOCK_K + depth
        at = rows + tap - TAPS // 2
        a_mask = ((at >= 0) & (at < length))[:, None]
        if not WHOLE_DEPTH:
            a_mask = a_mask & (channels < channels_in)[None, :]
        a = tl.load(x_rows[:, None] + (tap * channels_in + channels)[None, :], mask=a_mask, other=0.0)
        b_at = w_columns[None, :] + (tap * weight_stride_tap + channels * weight_stride_in)[:, None]
        if WHOLE_DEPTH and WHOLE_WIDTH:
            b = tl.load(b_at)
        else:
            b = tl.load(b_at, mask=(channels < channels_in)[:, None] & wide[None, :], other=0.0)
        acc = tl.dot(a, b, acc, input_precision="tf32x3")
    acc += tl.load(bias + columns, mask=wide, other=0.0).to(tl.float32)[None, :]
    own = rows < length
    places = (start + rows).to(tl.int64)[:, None]
    written = own[:, None] & wide[None, :]
    if HAS_ADDED:
        acc += tl.load(added + places * added_stride + columns[None, :], mask=written, other=0.0).to(tl.float32)
    tl.store(sums + places * channels_out + columns[None, :], acc, mask=written)
    count = tl.minimum(length - first, BLOCK_M).to(tl.float32)
    mean = tl.sum(tl.where(own[:, None], acc, 0.0), axis=0) / count
    away = tl.where(own[:, None], acc - mean[None, :], 0.0)
    part = tl.program_id(0).to(tl.int64) * channels_out + columns
    tl.store(means + part, mean, mask=wide)
    tl.store(squares + part, tl.sum(away * away, axis=0), mask=wide)


@triton.jit(do_not_specialize=["tiles", "blocks"])
def _normalise(
    sums,  # f32[ΣT, C]
    means,  # f32[S · tiles, C]
    squares,  # f32[S · tiles, C]
    norm_weight,  # f[C]
    norm_bias,  # f[C]
    shift,  # f[S, C] of any row stride, or any pointer
    cu_seqlens,  # i32[S + 1]
    y,  # f[ΣT, C]
    tiles,  # of the longest sequence, in the convolution
    blocks,  # of the longest sequence, here
    channels,
    shift_stride,
    eps,
    GROUP: tl.constexpr,  # channels of one group
    BLOCK_C: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    PARTS: tl.constexpr,
):
    sequence = tl.program_id(0) // blocks
    first = (tl.program_id(0) - sequence * blocks) * BLOCK_M
    start = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - start
    if first >= length:
        return
    within = tl.arange(0, BLOCK_C)
    columns = tl.program_id(1) * GROUP + within
    wide = within < GROUP
    values = length.to(tl.float32) * GROUP
    total = tl.zeros((BLOCK_C,), dtype=tl.float32)
    for base in range(0, tl.cdiv(length, TILE_ROWS), PARTS):
        tile = base + tl.arange(0, PARTS)
        count = tl.maximum(tl.minimum(length - tile * TILE_ROWS, TILE_ROWS), 0).to(tl.float32)
        part = (sequence * tiles + tile).to(tl.int64)[:, None] * channels + columns[None, :]
        mask = (count > 0)[:, None] & wide[None, :]
        total += tl.sum(tl.load(means + part, mask=mask, other=0.0) * count[:, None], axis=0)
    mean = tl.sum(total, axis=0) / values
    total = tl.zeros((BLOCK_C,), dtype=tl.float32)
    for base in range(0, tl.cdiv(length, TILE_ROWS), PARTS):
        tile = base + tl.arange(0, PARTS)
        count = tl.maximum(tl.minimum(length - tile * TILE_ROWS, TILE_ROWS), 0).to(tl.float32)
        part = (sequence * tiles + tile).to(tl.int64)[:, None] * channels + columns[None, :]
        mask = (count > 0)[:, None] & wide[None, :]
        away = tl.where(mask, tl.load(means + part, mask=mask, other=0.0) - mean, 0.0)
        total += tl.sum(tl.load(squares + part, mask=mask, other=0.0) + count[:, None] * away * away, axis=0)
    deviation = tl.sqrt(tl.sum(total, axis=0) / values + eps)
    rows = first + tl.arange(0, BLOCK_M)
    mask = (rows < length)[:, None] & wide[None, :]
    at = (start + rows).to(tl.int64)[:, None] * channels + columns[None, :]
    gain = tl.load(norm_weight + columns, mask=wide, other=0.0).to(tl.float32) / deviation
    offset = tl.load(norm_bias + columns, mask=wide, other=0.0).to(tl.float32)
    normed = (tl.load(sums + at, mask=mask, other=0.0) - mean) * gain[None, :] + offset[None, :]
    # tanh(log(1 + eˣ)) = p / (p + 2) with p = eˣ · (eˣ + 2): nothing cancels. Beyond 20 it is 1 in float32.
    e = tl.exp(tl.minimum(normed, 20.0, propagate_nan=tl.PropagateNan.ALL))
    p = e * (e + 2.0)
    active = normed * (p / (p + 2.0))
    if HAS_SHIFT:
        active += tl.load(shift + sequence * shift_stride + columns, mask=wide, other=0.0).to(tl.float32)[None, :]
    tl.store(y + at, active.to(y.dtype.element_ty), mask=mask)


def conv_norm_mish(
    x: torch.Tensor,  # f[ΣT, C_in]
    weight: torch.Tensor,  # f[C_out, C_in, 3]
    bias: torch.Tensor,  # f[C_out]
    norm_weight: torch.Tensor,  # f[C_out]
    norm_bias: torch.Tensor,  # f[C_out]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    max_seqlen: int,
    groups: int,
    eps: float,
    added: torch.Tensor | None,  # f[ΣT, C_out]
    shift: torch.Tensor | None,  # f[S, C_out]
) -> torch.Tensor:
    """As the reference, for float32, bfloat16 and float16; nothing is read from the device."""
    check_dtype("x", x, *KERNEL_FLOATS)
    x = x.contiguous()
    channels_out, channels_in, taps = weight.shape
    tile, sequences = tile_for(target_of(x.device), x.dtype, channels_in), len(cu_seqlens) - 1
    y = x.new_empty(len(x), channels_out)
    if not len(x):
        return y
    tiles = triton.cdiv(max_seqlen, tile.rows)
    sums = torch.empty(len(x), channels_out, dtype=torch.float32, device=x.device)
    means, squares = torch.empty(2, sequences * tiles, channels_out, dtype=torch.float32, device=x.device)
    _convolve[(sequences * tiles, triton.cdiv(channels_out, tile.columns))](
        x,
        weight,
        bias,
        x if added is None else added,
        cu_seqlens,
        sums,
        means,
        squares,
        tiles,
        channels_in,
        channels_out,
        *weight.stride(),
        channels_out if added is None else added.stride(0),
        HAS_ADDED=added is not None,
        TAPS=taps,
        WHOLE_DEPTH=channels_in % tile.depth == 0,
        WHOLE_WIDTH=channels_out % tile.columns == 0,
        BLOCK_M=tile.rows,
        BLOCK_N=tile.columns,
        BLOCK_K=tile.depth,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    group = channels_out // groups
    blocks = triton.cdiv(max_seqlen, NORM_ROWS)
    _normalise[(sequences * blocks, groups)](
        sums,
        means,
        squares,
        norm_weight,
        norm_bias,
        sums if shift is None else shift,
        cu_seqlens,
        y,
        tiles,
        blocks,
        channels_out,
        channels_out if shift is None else shift.stride(0),
        eps,
        GROUP=group,
        BLOCK_C=triton.next_power_of_2(group),
        HAS_SHIFT=shift is not None,
        TILE_ROWS=tile.rows,
        BLOCK_M=NORM_ROWS,
        PARTS=PARTS,
        num_warps=NORM_WARPS,
    )
    return y
