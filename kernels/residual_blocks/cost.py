"""What `residual_blocks` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def residual_blocks_cost(rows: int, channels: int, taps: Sequence[tuple[int, int]], itemsize: int = 4) -> Cost:
    """Rows and weights read once, rows written once, nothing between written at all; a Snake at five FLOPs a value.

    `taps` holds (of the dilated convolution, of the plain one) for each layer of every block.
    """
    total = sum(map(sum, taps))
    elements = 2 * rows * channels + channels * (channels * total + 4 * len(taps))
    flops = rows * channels * (2 * channels * total + len(taps) * (2 * 5 + 3))
    return Cost(bytes_moved=elements * itemsize, flops=flops)
