"""Log-mel frames: windowed power spectrum, mel filters, log10 with powers below 1e-10 raised to it.

Frame t reads `samples[starts[t]:starts[t] + len(window)]`, so that frames of several sources go in one call: lay their
samples one after another. Padding, and what is done relative to a segment's loudest frame, is the caller's.

Source: Radford et al. 2022 (arXiv 2212.04356); transformers, models/whisper/feature_extraction_whisper.py.
"""

import torch

from antiphon.kernels.checks import check_dtype, check_same_device, check_shape
from antiphon.kernels.log_mel import reference
from antiphon.kernels.registry import Op

OP = Op(
    "log_mel",
    reference.log_mel,
    library="nearly all of its time is a Fourier transform of 400 samples in float64, which is the library's",
)


def log_mel(
    samples: torch.Tensor,  # f32[N]
    starts: torch.Tensor,  # i64[T], at most N − n_fft
    window: torch.Tensor,  # f32[n_fft]
    mel_filters: torch.Tensor,  # f32[n_fft / 2 + 1, mel_bins]
) -> torch.Tensor:
    """f32[T, mel_bins]. A frame depends on its own samples alone, to the last bit in all but rare roundings."""
    check_shape("samples", samples, (None,))
    check_shape("starts", starts, (None,))
    check_shape("window", window, (2 * (mel_filters.shape[0] - 1),))
    check_shape("mel_filters", mel_filters, (None, None))
    check_dtype("starts", starts, torch.int64)
    for name, tensor in (("samples", samples), ("window", window), ("mel_filters", mel_filters)):
        check_dtype(name, tensor, torch.float32)
    check_same_device(samples=samples, starts=starts, window=window, mel_filters=mel_filters)
    return OP.implementation(samples.device)(samples, starts, window, mel_filters)
