"""What `vq_nearest` must move and compute."""

from antiphon.kernels.costs import Cost


def vq_nearest_cost(rows: int, codes: int, width: int) -> Cost:
    """Rows and codebook read once in float32, one int64 written a row; one multiply-add an element and the compare."""
    return Cost(bytes_moved=4 * width * (rows + codes) + 8 * rows, flops=rows * codes * (2 * width + 1))
