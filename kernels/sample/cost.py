"""What `sample` must move and compute."""

from antiphon.kernels.costs import Cost


def sample_cost(rows: int, vocab_size: int) -> Cost:
    """Logits, temperature and top-p read once, ids written; scale, exponential, compare and add an element."""
    return Cost(bytes_moved=rows * (4 * vocab_size + 2 * 4 + 8), flops=4 * rows * vocab_size)
