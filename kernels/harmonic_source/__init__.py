"""Sines at the fundamental and its overtones, with noise: the vocoder's excitation before they are mixed into one.

Each frame's F0 holds for `hop` samples. Harmonic k (from 1) turns by `k · F0 / sample_rate` a sample, summed from the
sequence's start in float64 and wrapped, so that the angle does not lose precision with length. Voiced samples (F0 above
the threshold) are `amplitude · sin(angle + phase)` with noise of standard deviation `sigma`; unvoiced ones are noise of
`amplitude / 3` alone.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py (`SineGen`); randomness comes in as arguments.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.harmonic_source import reference
from antiphon.kernels.registry import Op

OP = Op("harmonic_source", reference.harmonic_source, "antiphon.kernels.harmonic_source.kernel")


def harmonic_source(
    f0: torch.Tensor,  # f32[ΣT] Hz, one a frame
    phase: torch.Tensor,  # f32[S, harmonics] radians, each sequence's initial angles
    noise: torch.Tensor,  # f32[ΣT · hop, harmonics] standard normal
    cu_seqlens: torch.Tensor,  # i32[S + 1], in frames
    *,
    hop: int,
    sample_rate: int,
    amplitude: float,
    sigma: float,
    voiced_threshold: float,
) -> torch.Tensor:
    """Return f32[ΣT · hop, harmonics]."""
    check_shape("f0", f0, (None,))
    check_shape("cu_seqlens", cu_seqlens, (None,))
    check(
        len(cu_seqlens) >= 2, f"cu_seqlens has {len(cu_seqlens)} entries; expected one more than there are sequences."
    )
    check_shape("phase", phase, (len(cu_seqlens) - 1, None))
    check_shape("noise", noise, (f0.shape[0] * hop, phase.shape[1]))
    for name, tensor in (("f0", f0), ("phase", phase), ("noise", noise)):
        check_dtype(name, tensor, torch.float32)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(f0=f0, phase=phase, noise=noise, cu_seqlens=cu_seqlens)
    return OP.implementation(f0.device)(
        f0,
        phase,
        noise,
        cu_seqlens,
        hop=hop,
        sample_rate=sample_rate,
        amplitude=amplitude,
        sigma=sigma,
        voiced_threshold=voiced_threshold,
    )
