"""The one table of kernel tolerances: largest difference from the reference in float64, over its largest value.

Where an operation computes in float32, the figure is a few of its roundings: one is 6e-8. Where it writes bfloat16, the
last rounding alone is 2⁻⁹ = 2e-3 of a value. Operations whose result is a choice (an id, a code) have no row: equal.
"""

KERNEL_TOLERANCE: dict[tuple[str, str], float] = {}
