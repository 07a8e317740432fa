"""What `counter_normal` must move and compute."""

from antiphon.kernels.costs import Cost
from antiphon.kernels.sample.philox import ROUNDS

_A_ROUND = 10  # two products of two words each, four exclusive ors, two additions of the key
_A_PAIR = 8  # logarithm, root, cosine and sine counted as one each, and four products


def counter_normal_cost(normals: int) -> Cost:
    """Nothing read but the spans, which are a few bytes; each normal written once."""
    return Cost(bytes_moved=4 * normals, flops=normals * (ROUNDS * _A_ROUND) // 4 + normals * _A_PAIR // 2)
