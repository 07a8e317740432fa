"""What `residual_block` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def residual_block_cost(rows: int, channels: int, taps: Sequence[tuple[int, int]], itemsize: int = 4) -> Cost:
    """Rows and weights read once, rows written once, nothing between written at all; a Snake at five FLOPs a value.

    `taps` holds each layer's (of the dilated convolution, of the plain one).
    """
    total = sum(map(sum, taps))
    elements = 2 * rows * channels + channels * (channels * total + 4 * len(taps))
    flops = rows * channels * (2 * channels * total + len(taps) * (2 * 5 + 3))
    return Cost(bytes_moved=elements * itemsize, flops=flops)
