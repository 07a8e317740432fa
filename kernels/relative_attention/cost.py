"""What `relative_attention` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def relative_attention_cost(lengths: Sequence[int], heads: int, head_dim: int, block: int, itemsize: int = 4) -> Cost:
    """q, k, v, positions and the output once each; three products for each key a row sees, softmax at five FLOPs."""
    inner = heads * head_dim
    rows = 4 * sum(lengths) + 2 * max(lengths, default=0) - 1
    seen = sum(_keys_seen(length, block) for length in lengths)
    return Cost(bytes_moved=rows * inner * itemsize, flops=seen * heads * (3 * 2 * head_dim + 5))


def _keys_seen(length: int, block: int) -> int:
    """Keys seen, summed over the rows of one sequence: whole blocks see up to their end, the rest sees all."""
    whole, rest = divmod(length, block)
    return block * block * whole * (whole + 1) // 2 + rest * length
