"""Short-time Fourier transform of packed samples: centred frames, periodic Hann window, each sequence reflected at its
own ends.

A sequence of N samples gives `N // hop + 1` rows of `n_fft + 2` values: `n_fft / 2 + 1` real parts, then as many
imaginary ones.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py (`_stft`), torch.stft with its defaults.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.packed_stft import reference
from antiphon.kernels.packed_stft.tuned import LARGEST_TRANSFORM
from antiphon.kernels.registry import Op

OP = Op(
    "packed_stft",
    reference.packed_stft,
    "antiphon.kernels.packed_stft.kernel",
    exceptions=f"transforms of more than {LARGEST_TRANSFORM} samples",
)


def packed_stft(
    samples: torch.Tensor,  # f32[ΣN] (f64 for checking); each sequence longer than n_fft / 2
    cu_seqlens: torch.Tensor,  # i32[S + 1], in samples
    *,
    n_fft: int,
    hop: int,
    out_rows: int | None = None,  # Σ(N // hop + 1): given, the kernel need not read it back
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (f32[Σ(N // hop + 1), n_fft + 2], its cu_seqlens i32[S + 1])."""
    check_shape("samples", samples, (None,))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check_dtype("samples", samples, torch.float32, torch.float64)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(samples=samples, cu_seqlens=cu_seqlens)
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    check(n_fft >= 2 and n_fft % 2 == 0 and 1 <= hop <= n_fft, f"{n_fft=} must be even and {hop=} within 1..n_fft.")
    return OP.implementation(samples.device)(samples, cu_seqlens, n_fft=n_fft, hop=hop, out_rows=out_rows)
