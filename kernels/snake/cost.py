"""What `snake` must move and compute."""

from antiphon.kernels.costs import Cost


def snake_cost(rows: int, channels: int, itemsize: int = 4) -> Cost:
    """Read once, written once; five operations an element, the sine counted as one."""
    return Cost(bytes_moved=(2 * rows + 1) * channels * itemsize, flops=5 * rows * channels)
