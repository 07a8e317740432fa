"""What `rms_norm` must move and compute."""

from antiphon.kernels.costs import Cost


def rms_norm_cost(rows: int, hidden: int, itemsize: int = 2) -> Cost:
    """Rows read and written once, the weight read once; square, add, and two products an element."""
    return Cost(bytes_moved=(2 * rows + 1) * hidden * itemsize, flops=4 * rows * hidden)
