"""`istft_head` in plain torch."""

from typing import Final

import torch

from antiphon.kernels.packing import sequences_of

_FINITE_EXPONENT: Final = 80.0  # e⁸⁰ is beyond any limit and yet finite: a clipped value's gradient is 0, not 0 · ∞


def istft_head(
    rows: torch.Tensor,  # f[ΣF, n_fft + 2]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    n_fft: int,
    hop: int,
    magnitude_limit: float,
    audio_limit: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    waves = [_one(sequence, n_fft, hop, magnitude_limit) for sequence in sequences_of(rows, cu_seqlens)]
    samples = (waves[0] if len(waves) == 1 else torch.cat(waves)).clamp(-audio_limit, audio_limit)
    lengths = (cu_seqlens.diff() - 1) * hop
    return samples, torch.cat([cu_seqlens[:1], lengths.cumsum(0)]).to(torch.int32)


def _one(
    rows: torch.Tensor,  # f[F, n_fft + 2]
    n_fft: int,
    hop: int,
    magnitude_limit: float,
) -> torch.Tensor:
    """f32[(F − 1) · hop] of one sequence, before the clamp."""
    # In one memory order: FFT libraries round by the layout, and a sequence must not depend on how it came.
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32)).t().contiguous()
    bins = n_fft // 2 + 1
    magnitude = torch.exp(wide[:bins].clamp(max=_FINITE_EXPONENT)).clamp(max=magnitude_limit)
    phase = torch.sin(wide[bins:])
    spectrum = torch.complex(magnitude * torch.cos(phase), magnitude * torch.sin(phase))
    return torch.istft(spectrum, n_fft, hop, window=torch.hann_window(n_fft, dtype=wide.dtype, device=wide.device))
