"""What one call of an operation costs at the least: the ground its roofline stands on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Lower bounds for one call: every input read once, every output written once.

    Offsets, tables and other whole numbers beside the rows do not count; ids that are the result do.
    """

    bytes_moved: int
    flops: int  # one multiply-add counts as two
