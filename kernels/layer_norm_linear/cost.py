"""What `layer_norm_linear` must move and compute."""

from antiphon.kernels.costs import Cost


def layer_norm_linear_cost(rows: int, channels_in: int, channels_out: int, itemsize: int = 4) -> Cost:
    """`channels_out` is the sum over the projections; the norm at eight FLOPs a value."""
    elements = rows * (channels_in + channels_out) + channels_in * (channels_out + 2)
    return Cost(bytes_moved=elements * itemsize, flops=rows * channels_in * (2 * channels_out + 8))
