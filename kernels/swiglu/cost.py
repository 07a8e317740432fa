"""What `swiglu` must move and compute."""

from antiphon.kernels.costs import Cost


def swiglu_cost(rows: int, ffn: int, itemsize: int = 2) -> Cost:
    """Two inputs and one output an element; exponential, add, division and two products."""
    return Cost(bytes_moved=3 * rows * ffn * itemsize, flops=5 * rows * ffn)
