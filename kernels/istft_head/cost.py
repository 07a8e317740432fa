"""What `istft_head` must move and compute."""

from antiphon.kernels.costs import Cost


def istft_head_cost(rows: int, sequences: int, n_fft: int, hop: int, itemsize: int = 4) -> Cost:
    """Rows read once, float32 samples written once, hop of them between two rows; a row is n_fft dot products of
    n_fft + 2 terms, windowed and added up, and five operations a bin for magnitude and angle."""
    flops = rows * (2 * n_fft * (n_fft + 2) + 5 * (n_fft // 2 + 1) + 2 * n_fft)
    return Cost(bytes_moved=rows * (n_fft + 2) * itemsize + (rows - sequences) * hop * 4, flops=flops)
