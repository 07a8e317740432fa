"""What `paged_attention` must move and compute."""

from collections.abc import Sequence

from antiphon.kernels.costs import Cost


def paged_attention_cost(
    query_lens: Sequence[int],
    context_lens: Sequence[int],  # keys visible to each sequence's last query
    heads: int,
    kv_heads: int,
    head_dim: int,
    itemsize: int = 2,
) -> Cost:
    """Each sequence's keys and values read once, queries read and outputs written once; two products a score."""
    kv = 2 * kv_heads * head_dim * sum(context_lens)
    rows = 2 * heads * head_dim * sum(query_lens)
    scores = sum(
        queries * context - queries * (queries - 1) // 2
        for queries, context in zip(query_lens, context_lens, strict=True)
    )
    return Cost(bytes_moved=(kv + rows) * itemsize, flops=4 * heads * head_dim * scores)
