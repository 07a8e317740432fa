"""What `relative_attention` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def relative_attention_cost(
    lengths: Sequence[int],
    heads: int,
    head_dim: int,
    block: int,
    itemsize: int = 4,
    *,
    histories: Sequence[int] | None = None,  # keys of each sequence before its first row, whole blocks; None: none
) -> Cost:
    """q, k, v, positions, biases and the output once each; three products for each key a row sees, softmax at five
    FLOPs."""
    inner = heads * head_dim
    before = [0] * len(lengths) if histories is None else list(histories)
    keys = [length + history for length, history in zip(lengths, before, strict=True)]
    offsets = max(lengths, default=0) + max(keys, default=0) - 1
    rows = 2 * sum(lengths) + 2 * sum(keys) + offsets + 2  # two biases
    seen = sum(_keys_seen(all_, block) - _keys_seen(history, block) for all_, history in zip(keys, before, strict=True))
    return Cost(bytes_moved=rows * inner * itemsize, flops=seen * heads * (3 * 2 * head_dim + 5))


def _keys_seen(length: int, block: int) -> int:
    """Keys seen, summed over the rows of one sequence: whole blocks see up to their end, the rest sees all."""
    whole, rest = divmod(length, block)
    return block * block * whole * (whole + 1) // 2 + rest * length
