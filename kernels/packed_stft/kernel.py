"""`packed_stft` in Triton: frames times the windowed basis, which is made anew in each program.

With 16 samples a frame the transform is a matrix product of 16 by 18; an FFT has nothing to save. Samples beyond a
sequence's ends are read mirrored, so that nothing is padded and no frames are written.
"""

import math

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import check_dtype
from antiphon.kernels.jit_functions import cosine, sequence_of, sine
from antiphon.kernels.packed_stft import reference
from antiphon.kernels.packed_stft.reference import offsets_out
from antiphon.kernels.packed_stft.tuned import LARGEST_TRANSFORM, ROWS, WARPS


@triton.jit(do_not_specialize=["sequences", "steps", "rows_out"])
def _packed_stft(
    samples,  # f32[ΣN]
    cu_seqlens,  # i32[S + 1]
    cu_rows,  # i32[S + 1]
    y,  # f32[rows_out, n_fft + 2]
    sequences,
    steps,
    rows_out,
    N_FFT: tl.constexpr,
    HOP: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_T: tl.constexpr,  # of a frame's samples
    BLOCK_N: tl.constexpr,  # of a row's values
    TURN: tl.constexpr,  # 2π
):
    BINS: tl.constexpr = N_FFT // 2 + 1
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    instant = tl.arange(0, BLOCK_T)
    value = tl.arange(0, BLOCK_N)
    sequence = sequence_of(cu_rows, row, sequences, steps, 0)
    start = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - start
    at = ((row - tl.load(cu_rows + sequence)) * HOP - N_FFT // 2)[:, None] + instant[None, :]
    at = tl.where(at < 0, -at, at)
    at = tl.where(at >= length[:, None], 2 * (length[:, None] - 1) - at, at)
    mask = (row < rows_out)[:, None] & (instant < N_FFT)[None, :]
    frames = tl.load(samples + start[:, None] + at, mask=mask, other=0.0)
    angle = (((value % BINS)[None, :] * instant[:, None]) % N_FFT).to(tl.float32) * (TURN / N_FFT)
    wave = tl.where((value < BINS)[None, :], cosine(angle), -sine(angle))
    window = 0.5 - 0.5 * cosine(instant.to(tl.float32) * (TURN / N_FFT))
    spectrum = tl.dot(frames, wave * window[:, None], input_precision="tf32x3")
    out = y + row.to(tl.int64)[:, None] * (N_FFT + 2) + value[None, :]
    tl.store(out, spectrum, mask=(row < rows_out)[:, None] & (value < N_FFT + 2)[None, :])


def packed_stft(
    samples: torch.Tensor,  # f32[ΣN]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    n_fft: int,
    hop: int,
    out_rows: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference, in float32. Where S is over one and `out_rows` is not given, the output's rows are read back.

    A transform too long for a product with its whole basis is left to the library's FFT.
    """
    if n_fft > LARGEST_TRANSFORM:
        return reference.packed_stft(samples, cu_seqlens, n_fft=n_fft, hop=hop)
    check_dtype("samples", samples, torch.float32)
    samples = samples.contiguous()
    cu_rows = offsets_out(cu_seqlens, hop)
    sequences = len(cu_seqlens) - 1
    if sequences == 1:
        rows = len(samples) // hop + 1
    else:
        rows = int(cu_rows[-1]) if out_rows is None else out_rows
    y = torch.empty(rows, n_fft + 2, dtype=torch.float32, device=samples.device)
    _packed_stft[(triton.cdiv(rows, ROWS),)](
        samples,
        cu_seqlens,
        cu_rows,
        y,
        sequences,
        (sequences - 1).bit_length(),
        rows,
        N_FFT=n_fft,
        HOP=hop,
        BLOCK_M=ROWS,
        BLOCK_T=max(16, triton.next_power_of_2(n_fft)),
        BLOCK_N=max(16, triton.next_power_of_2(n_fft + 2)),
        TURN=2 * math.pi,
        num_warps=WARPS,
    )
    return y, cu_rows
