"""Where the parity data lies: made with the official code on small random weights (see tests/parity/data/README.md)."""

from pathlib import Path

DATA = Path(__file__).parents[1] / "parity" / "data"


def golden(relative: str) -> Path:
    """The path of one golden file or folder, such as `decoder/oneshot.npz`."""
    path = DATA / relative
    assert path.exists(), f"golden {relative} is missing from {DATA}"
    return path
