"""What `packed_stft` must move and compute."""

from antiphon.kernels.costs import Cost


def packed_stft_cost(samples: int, rows: int, n_fft: int, itemsize: int = 4) -> Cost:
    """Samples read once, rows written once; each value is a dot product with a windowed wave of n_fft samples."""
    return Cost(bytes_moved=(samples + rows * (n_fft + 2)) * itemsize, flops=2 * rows * (n_fft + 2) * n_fft)
