"""What `rope_paged_write` must move and compute."""

from antiphon.kernels.costs import Cost


def rope_paged_write_cost(rows: int, heads: int, kv_heads: int, head_dim: int, pairs: int, itemsize: int = 2) -> Cost:
    """Queries read and written, keys read, handed back and written to their slots, values read and written to theirs;
    the angles read once. Three FLOPs a turned value."""
    elements = (2 * heads + (3 + 2) * kv_heads) * head_dim
    return Cost(bytes_moved=rows * (elements * itemsize + pairs * 2 * 4), flops=rows * 6 * pairs * (heads + kv_heads))
