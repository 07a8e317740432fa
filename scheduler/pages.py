"""The page pool the engine uses: the C++ one. `antiphon.scheduler.reference` holds the same rules in Python."""

from antiphon.scheduler._core import PagePool
from antiphon.scheduler.errors import OutOfPages

__all__ = ["OutOfPages", "PagePool"]
