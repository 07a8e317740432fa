"""What `varlen_attention` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def varlen_attention_cost(
    query_lens: Sequence[int],
    key_lens: Sequence[int],
    heads: int,
    kv_heads: int,
    head_dim: int,
    *,
    block: int | None = None,  # positions of one block (1: causal); None: full
    query_starts: Sequence[int] | None = None,
    itemsize: int = 4,
) -> Cost:
    """Queries, keys and values read once, outputs written once; two products for each key a query sees."""
    if query_starts is None:
        query_starts = [keys - queries for queries, keys in zip(query_lens, key_lens, strict=True)]
    scores = 0
    for queries, keys, start in zip(query_lens, key_lens, query_starts, strict=True):
        scores += queries * keys if block is None else _block_causal_scores(start, queries, keys, block)
    elements = head_dim * (2 * heads * sum(query_lens) + 2 * kv_heads * sum(key_lens))
    return Cost(bytes_moved=elements * itemsize, flops=4 * heads * head_dim * scores)


def _block_causal_scores(start: int, queries: int, keys: int, block: int) -> int:
    """Keys seen, summed over the queries at positions start, start + 1, …"""
    return _keys_seen_before(start + queries, keys, block) - _keys_seen_before(start, keys, block)


def _keys_seen_before(position: int, keys: int, block: int) -> int:
    """Σ over p < position of min(keys, (p // block + 1) · block)."""
    growing = min(position, keys // block * block)  # those whose block ends within the keys
    whole, rest = divmod(growing, block)
    return block * block * whole * (whole + 1) // 2 + rest * block * (whole + 1) + (position - growing) * keys
