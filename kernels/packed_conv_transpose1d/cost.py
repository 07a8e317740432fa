"""What `packed_conv_transpose1d` must move and compute."""

from antiphon.kernels.costs import Cost


def packed_conv_transpose1d_cost(
    rows_in: int, rows_out: int, channels_in: int, channels_out: int, kernel: int, itemsize: int = 4
) -> Cost:
    """Input rows and weights read once, output rows written once; every input row meets every tap once."""
    elements = rows_in * channels_in + rows_out * channels_out + channels_out * (channels_in * kernel + 1)
    flops = 2 * rows_in * channels_in * channels_out * kernel + rows_out * channels_out
    return Cost(bytes_moved=elements * itemsize, flops=flops)
