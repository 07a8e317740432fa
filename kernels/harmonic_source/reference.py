"""`harmonic_source` in plain torch."""

import math

import torch

from antiphon.kernels.packing import sequences_of


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
    """The definition of correct."""
    harmonics = torch.arange(1, phase.shape[1] + 1, dtype=f0.dtype, device=f0.device)
    # Rounded to float32 before it is summed, as in the official code: after 5,000 turns the rounding has grown to 1e-3.
    turns_per_sample = (f0[:, None] * harmonics / sample_rate).double()  # [ΣT, harmonics]
    within = torch.arange(1, hop + 1, dtype=torch.float64, device=f0.device)[None, :, None]
    sines = []
    for turns, initial in zip(sequences_of(turns_per_sample, cu_seqlens), phase, strict=True):
        before = (turns.cumsum(0) - turns) * hop  # turns completed when the frame begins
        angle = 2 * math.pi * ((before[:, None] + turns[:, None] * within) % 1).to(f0.dtype) + initial
        sines.append(torch.sin(angle).flatten(0, 1))
    voiced = (f0 > voiced_threshold).to(f0.dtype).repeat_interleave(hop)[:, None]
    loudness = voiced * sigma + (1 - voiced) * amplitude / 3
    return amplitude * torch.cat(sines) * voiced + loudness * noise
