"""What `rope_paged_write` must move and compute."""

from antiphon.kernels.costs import Cost


def rope_paged_write_cost(rows: int, heads: int, kv_heads: int, head_dim: int, pairs: int, itemsize: int = 2) -> Cost:
    """Queries read and written, keys and values read and written to their slots; the table and the slots read once."""
    elements = 2 * (heads + 2 * kv_heads) * head_dim
    return Cost(
        bytes_moved=rows * (elements * itemsize + pairs * 2 * 4 + 8), flops=rows * 6 * pairs * (heads + kv_heads)
    )
