"""`packed_stft` in plain torch."""

import torch

from antiphon.kernels.packing import sequences_of


def packed_stft(
    samples: torch.Tensor,  # f32[ΣN]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    n_fft: int,
    hop: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    window = torch.hann_window(n_fft, dtype=samples.dtype, device=samples.device)
    rows = []
    for sequence in sequences_of(samples, cu_seqlens):
        spectrum = torch.stft(sequence, n_fft, hop, window=window, return_complex=True)
        rows.append(torch.cat([spectrum.real, spectrum.imag]).t())
    lengths = torch.div(cu_seqlens.diff(), hop, rounding_mode="floor") + 1
    cu_rows = torch.cat([cu_seqlens[:1], lengths.cumsum(0)]).to(torch.int32)
    return rows[0] if len(rows) == 1 else torch.cat(rows), cu_rows
