"""What `packed_conv1d` must move and compute."""

from antiphon.kernels.costs import Cost


def packed_conv1d_cost(
    rows_in: int,
    rows_out: int,
    channels_in: int,
    channels_out: int,
    kernel: int,
    itemsize: int = 4,
    *,
    has_bias: bool = True,
) -> Cost:
    """Input rows and weights read once, output rows written once; one multiply-add per tap."""
    elements = rows_in * channels_in + rows_out * channels_out + channels_out * (channels_in * kernel + has_bias)
    return Cost(bytes_moved=elements * itemsize, flops=rows_out * channels_out * (2 * channels_in * kernel + has_bias))
