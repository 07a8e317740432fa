"""The tile of a matrix product, which the tables of several operations' `tuned.py` hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProductTile:
    """What one program makes of a product of rows with a weight, and how."""

    rows: int
    columns: int  # of the result: the weight's output channels
    depth: int  # values of a row, or input channels, taken in one step
    warps: int
    stages: int
