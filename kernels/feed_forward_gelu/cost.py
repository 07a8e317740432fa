"""What `feed_forward_gelu` must move and compute."""

from antiphon.kernels.costs import Cost


def feed_forward_gelu_cost(rows: int, channels: int, inner: int, itemsize: int = 4) -> Cost:
    """Rows read and written once, inner values not at all; the norm at eight FLOPs a value, GELU at ten."""
    elements = 2 * rows * channels + 2 * channels * inner + inner + 3 * channels
    return Cost(bytes_moved=elements * itemsize, flops=rows * (4 * channels * inner + 9 * channels + 10 * inner))
