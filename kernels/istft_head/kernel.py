"""`istft_head` in Triton: each sample gathers the frames that cover it, straight from log-magnitudes and raw phases.

No spectrum and no frames are written, and nothing is added by atomics: a sample is the sum over its n_fft / hop frames,
in one order, of the inverse transform at that frame's instant. Every frame's magnitudes and angles are made again for
each of its samples: 36 of them a sample in the published vocoder, which is a hundredth of what the layers before cost.

The convolution before is a launch of its own: a tile cannot be shifted against itself in registers, so a program would
convolve each row once for every hop it covers, to save 18 values a row their way through memory.
"""

import math

import torch
import triton
import triton.language as tl

from antiphon.kernels.checks import KERNEL_FLOATS, check_dtype
from antiphon.kernels.istft_head import reference
from antiphon.kernels.istft_head.tuned import LARGEST_TRANSFORM, SAMPLES, WARPS
from antiphon.kernels.jit_functions import cosine, sequence_of, sine

_FINITE_EXPONENT = tl.constexpr(80.0)


@triton.jit(do_not_specialize=["sequences", "steps", "samples"])
def _istft_head(
    rows,  # f[ΣF, n_fft + 2]
    cu_seqlens,  # i32[S + 1]
    wave,  # f32[samples]
    sequences,
    steps,
    samples,
    magnitude_limit,
    audio_limit,
    N_FFT: tl.constexpr,
    HOP: tl.constexpr,
    BLOCK_BINS: tl.constexpr,
    BLOCK: tl.constexpr,
    TURN: tl.constexpr,  # 2π
):
    BINS: tl.constexpr = N_FFT // 2 + 1
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Sequence s has a row less than hops of samples: its samples begin at (cu_seqlens[s] − s) · hop.
    sequence = sequence_of(cu_seqlens, at // HOP, sequences, steps, -1)
    start = tl.load(cu_seqlens + sequence)
    frames = tl.load(cu_seqlens + sequence + 1) - start
    instant = at - (start - sequence) * HOP + N_FFT // 2  # of the sequence's frames, half a window before its samples
    bins = tl.arange(0, BLOCK_BINS)
    # Bins between the first and the last stand for their mirror images too.
    weight = tl.where((bins == 0) | (bins == N_FFT // 2), 1.0, 2.0) / N_FFT
    sums = tl.zeros((BLOCK,), dtype=tl.float32)
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for back in range(0, (N_FFT + HOP - 1) // HOP):
        frame = instant // HOP - back
        within = instant - frame * HOP
        covers = (at < samples) & (frame >= 0) & (frame < frames) & (within < N_FFT)
        base = rows + (start + frame).to(tl.int64)[:, None] * (N_FFT + 2) + bins[None, :]
        mask = covers[:, None] & (bins < BINS)[None, :]
        exponent = tl.load(base, mask=mask, other=0.0).to(tl.float32)
        raw = tl.load(base + BINS, mask=mask, other=0.0).to(tl.float32)
        magnitude = tl.exp(tl.minimum(exponent, _FINITE_EXPONENT, propagate_nan=tl.PropagateNan.ALL))
        magnitude = tl.minimum(magnitude, magnitude_limit, propagate_nan=tl.PropagateNan.ALL)
        # The first and the last bin have no imaginary part in a real wave's spectrum, whatever the head says.
        phase = sine(raw)
        turns = ((bins[None, :] * within[:, None]) % N_FFT).to(tl.float32) * (TURN / N_FFT)
        edge = (bins == 0) | (bins == N_FFT // 2)
        real = cosine(phase) * cosine(turns)
        imaginary = tl.where(edge[None, :], 0.0, sine(phase) * sine(turns))
        value = tl.sum(tl.where(mask, magnitude * (real - imaginary) * weight[None, :], 0.0), axis=1)
        window = 0.5 - 0.5 * cosine(within.to(tl.float32) * (TURN / N_FFT))
        sums += tl.where(covers, value * window, 0.0)
        squares += tl.where(covers, window * window, 0.0)
    sample = sums / tl.where(at < samples, squares, 1.0)
    sample = tl.clamp(sample, -audio_limit, audio_limit, propagate_nan=tl.PropagateNan.ALL)
    tl.store(wave + at, sample, mask=at < samples)


def istft_head(
    rows: torch.Tensor,  # f[ΣF, n_fft + 2]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    n_fft: int,
    hop: int,
    magnitude_limit: float,
    audio_limit: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As the reference, for float32, bfloat16 and float16; nothing is read from the device.

    A transform too long for a sum over its bins is left to the library's FFT.
    """
    if n_fft > LARGEST_TRANSFORM:
        return reference.istft_head(
            rows, cu_seqlens, n_fft=n_fft, hop=hop, magnitude_limit=magnitude_limit, audio_limit=audio_limit
        )
    check_dtype("rows", rows, *KERNEL_FLOATS)
    rows = rows.contiguous()
    sequences = len(cu_seqlens) - 1
    samples = (len(rows) - sequences) * hop
    wave = torch.empty(samples, dtype=torch.float32, device=rows.device)
    if samples:
        _istft_head[(triton.cdiv(samples, SAMPLES),)](
            rows,
            cu_seqlens,
            wave,
            sequences,
            (sequences - 1).bit_length(),
            samples,
            magnitude_limit,
            audio_limit,
            N_FFT=n_fft,
            HOP=hop,
            BLOCK_BINS=triton.next_power_of_2(n_fft // 2 + 1),
            BLOCK=SAMPLES,
            TURN=2 * math.pi,
            num_warps=WARPS,
        )
    ones = torch.arange(sequences + 1, dtype=torch.int32, device=rows.device)
    return wave, (cu_seqlens - ones) * hop
