"""What `packed_upsample` must move and compute."""

from antiphon.kernels.costs import Cost


def packed_upsample_cost(rows: int, out_rows: int, channels_in: int, channels_out: int, itemsize: int = 4) -> Cost:
    """Every output row is the sum of two of the four taps."""
    elements = rows * channels_in + out_rows * channels_out + channels_out * (4 * channels_in + 1)
    return Cost(bytes_moved=elements * itemsize, flops=out_rows * channels_out * (2 * 2 * channels_in + 1))
