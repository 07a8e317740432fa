"""`packed_stft` in plain torch."""

import torch

from antiphon.kernels.packing import sequences_of


def packed_stft(
    samples: torch.Tensor,  # f32[ΣN]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    n_fft: int,
    hop: int,
    out_rows: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Differentiable; the definition of correct."""
    window = torch.hann_window(n_fft, dtype=samples.dtype, device=samples.device)
    rows = []
    for sequence in sequences_of(samples, cu_seqlens):
        spectrum = torch.stft(sequence, n_fft, hop, window=window, return_complex=True)
        rows.append(torch.cat([spectrum.real, spectrum.imag]).t())
    return rows[0] if len(rows) == 1 else torch.cat(rows), offsets_out(cu_seqlens, hop)


def offsets_out(
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    hop: int,
) -> torch.Tensor:
    """i32[S + 1] of the rows."""
    lengths = torch.div(cu_seqlens.diff(), hop, rounding_mode="floor") + 1
    return torch.cat([cu_seqlens[:1], lengths.cumsum(0)]).to(torch.int32)
