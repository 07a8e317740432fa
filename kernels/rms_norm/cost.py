"""What `rms_norm` must move and compute."""

from antiphon.kernels.costs import Cost


def rms_norm_cost(rows: int, hidden: int, itemsize: int = 2, *, residual: bool = False) -> Cost:
    """Rows read and written once, the weight read once; square, add, and two products an element.

    With a residual, that is read and the sum written as well, for one more addition.
    """
    elements = rows * hidden
    moved = (4 if residual else 2) * elements + hidden
    return Cost(bytes_moved=moved * itemsize, flops=(5 if residual else 4) * elements)
