"""`harmonic_source` in Triton: one program a frame, its phase summed exactly in whole numbers.

A harmonic's turns a sample, rounded to float32 as the reference does, are a whole number of 2⁻⁶² turns (below 2⁻³⁸ of a
turn bits are dropped). 64-bit sums of such numbers wrap every four turns and lose nothing, whatever their order: the
phase is exact however long the sequence, and no double precision is needed.
"""

import math

import torch
import triton
import triton.language as tl

from antiphon.kernels.harmonic_source.tuned import FRAMES, WARPS
from antiphon.kernels.jit_functions import sequence_of, sine

_UNITS = tl.constexpr(4611686018427387904.0)  # 2⁶² of a turn
_WITHIN = tl.constexpr(4611686018427387903)  # one turn, less one unit


@triton.jit
def _turns(f0, harmonic, sample_rate):
    """Turns a sample, less whole ones: float32."""
    turns = tl.div_rn(f0 * harmonic, sample_rate)
    return turns - tl.floor(turns)


@triton.jit(do_not_specialize=["sequences", "steps"])
def _harmonic_source(
    f0,  # f32[ΣT]
    phase,  # f32[S, harmonics]
    noise,  # f32[ΣT · hop, harmonics]
    cu_seqlens,  # i32[S + 1]
    y,  # f32[ΣT · hop, harmonics]
    sequences,
    steps,
    sample_rate,
    amplitude,
    sigma,
    voiced_threshold,
    HOP: tl.constexpr,
    HARMONICS: tl.constexpr,
    BLOCK_HOP: tl.constexpr,
    BLOCK_HARMONICS: tl.constexpr,
    BLOCK_FRAMES: tl.constexpr,
    TURN: tl.constexpr,  # 2π
):
    row = tl.program_id(0)
    sequence = sequence_of(cu_seqlens, row, sequences, steps, 0)
    start = tl.load(cu_seqlens + sequence)
    harmonic = tl.arange(0, BLOCK_HARMONICS)
    is_harmonic = harmonic < HARMONICS
    number = (harmonic + 1).to(tl.float32)
    before = tl.zeros((BLOCK_HARMONICS,), dtype=tl.int64)
    unknown = tl.zeros((BLOCK_HARMONICS,), dtype=tl.float32)  # NaN from the first frame whose F0 is none
    for base in range(start, row, BLOCK_FRAMES):
        frame = base + tl.arange(0, BLOCK_FRAMES)
        f0_before = tl.load(f0 + frame, mask=frame < row, other=0.0)
        turns = _turns(f0_before[:, None], number[None, :], sample_rate)
        before += tl.sum((turns * _UNITS).to(tl.int64), axis=0)
        unknown += tl.sum(turns * 0.0, axis=0)
    own_f0 = tl.load(f0 + row)
    turns = _turns(own_f0, number, sample_rate)
    unknown += turns * 0.0
    sample = tl.arange(0, BLOCK_HOP)
    units = before[None, :] * HOP + (turns * _UNITS).to(tl.int64)[None, :] * (sample + 1).to(tl.int64)[:, None]
    fraction = (units & _WITHIN).to(tl.float32) / _UNITS
    initial = tl.load(phase + sequence * HARMONICS + harmonic, mask=is_harmonic, other=0.0)
    sines = sine(TURN * fraction + (initial + unknown)[None, :])
    at = (row.to(tl.int64) * HOP + sample)[:, None] * HARMONICS + harmonic[None, :]
    mask = (sample < HOP)[:, None] & is_harmonic[None, :]
    voiced = (own_f0 > voiced_threshold).to(tl.float32)
    loudness = voiced * sigma + (1.0 - voiced) * amplitude / 3
    tl.store(y + at, amplitude * sines * voiced + loudness * tl.load(noise + at, mask=mask, other=0.0), mask=mask)


def harmonic_source(
    f0: torch.Tensor,  # f32[ΣT]
    phase: torch.Tensor,  # f32[S, harmonics]
    noise: torch.Tensor,  # f32[ΣT · hop, harmonics]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    hop: int,
    sample_rate: int,
    amplitude: float,
    sigma: float,
    voiced_threshold: float,
) -> torch.Tensor:
    """As the reference; nothing is read from the device."""
    sequences, harmonics = phase.shape
    y = torch.empty(noise.shape, dtype=torch.float32, device=f0.device)
    if len(f0):
        _harmonic_source[(len(f0),)](
            f0.contiguous(),
            phase.contiguous(),
            noise.contiguous(),
            cu_seqlens,
            y,
            sequences,
            (sequences - 1).bit_length(),
            float(sample_rate),
            amplitude,
            sigma,
            voiced_threshold,
            HOP=hop,
            HARMONICS=harmonics,
            BLOCK_HOP=triton.next_power_of_2(hop),
            BLOCK_HARMONICS=triton.next_power_of_2(harmonics),
            BLOCK_FRAMES=FRAMES,
            TURN=2 * math.pi,
            num_warps=WARPS,
        )
    return y
