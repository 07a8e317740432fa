"""What `log_mel` must move and compute."""

from math import log2

from antiphon.kernels.costs import Cost


def log_mel_cost(frames: int, hop: int, n_fft: int, mel_bins: int) -> Cost:
    """Samples, window and filters read once, frames written once; a real FFT, power, and the filters' product."""
    bins = n_fft // 2 + 1
    elements = frames * hop + n_fft + bins * mel_bins + frames * mel_bins
    flops = frames * (n_fft + round(2.5 * n_fft * log2(n_fft)) + 3 * bins + 2 * bins * mel_bins)
    return Cost(bytes_moved=4 * elements, flops=flops)
