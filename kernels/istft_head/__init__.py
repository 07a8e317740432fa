"""The vocoder's last step: from predicted log-magnitudes and phase angles to the wave.

Each row holds `n_fft / 2 + 1` log-magnitudes, then as many raw phases. Magnitude is `exp`, clipped from above; phase is
`sin` of the raw value; then inverse DFT, Hann window, overlap-add, division by the squared windows' sum, `n_fft / 2`
samples cut at both ends, and a clamp of the samples. A sequence of F rows gives `(F − 1) · hop` samples.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py (end of `forward`, `_istft`), torch.istft with its defaults.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.istft_head import reference
from antiphon.kernels.istft_head.tuned import LARGEST_TRANSFORM
from antiphon.kernels.registry import Op

OP = Op(
    "istft_head",
    reference.istft_head,
    "antiphon.kernels.istft_head.kernel",
    exceptions=f"transforms of more than {LARGEST_TRANSFORM} samples",
)


def istft_head(
    rows: torch.Tensor,  # f[ΣF, n_fft + 2]; each sequence has at least 2 rows
    cu_seqlens: torch.Tensor,  # i32[S + 1], in rows
    *,
    n_fft: int,
    hop: int,
    magnitude_limit: float,
    audio_limit: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (samples f32[Σ(F − 1)·hop], their cu_seqlens i32[S + 1]); computed in float32 or better."""
    check(n_fft >= 2 and n_fft % 2 == 0 and 1 <= hop <= n_fft, f"{n_fft=} must be even and {hop=} within 1..n_fft.")
    check_shape("rows", rows, (None, n_fft + 2))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(rows.is_floating_point(), f"rows is {rows.dtype}; expected a floating-point dtype.")
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(rows=rows, cu_seqlens=cu_seqlens)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    return OP.implementation(rows.device)(
        rows, cu_seqlens, n_fft=n_fft, hop=hop, magnitude_limit=magnitude_limit, audio_limit=audio_limit
    )
