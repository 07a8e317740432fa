"""What `conv_norm_mish` must move and compute."""

from antiphon.kernels.costs import Cost


def conv_norm_mish_cost(
    rows: int,
    channels_in: int,
    channels_out: int,
    sequences: int = 0,
    kernel: int = 3,
    itemsize: int = 4,
    has_added: bool = False,
) -> Cost:
    """Input, weights, shifts and what is added read once, output written once; the norm and Mish at ten FLOPs a value.

    `sequences` counts the rows of `shift`; 0 stands for none.
    """
    values = rows * (channels_in + (2 if has_added else 1) * channels_out)
    elements = values + channels_out * (channels_in * kernel + 3 + sequences)
    return Cost(bytes_moved=elements * itemsize, flops=rows * channels_out * (2 * channels_in * kernel + 10))
