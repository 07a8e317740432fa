"""What the libraries beneath keep of the host's memory: bounded, and handed back when nobody needs it.

Two things make a process on the CPU look as if it leaked. oneDNN keeps what it compiled for each shape of a
convolution, and the shapes are as many as there are companies of callers and lengths of chunks. And malloc keeps what
was freed between two such pieces.
"""

import ctypes
import os
from typing import Final

# oneDNN's own is 1,024, 27 MiB more. What is compiled again for it was 0.9 % of the time with 16 callers who come and
# go, and nothing with one.
_PRIMITIVES: Final = 256
_CAPACITY: Final = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def bound_primitive_cache() -> None:
    """Have oneDNN keep fewer compiled shapes, unless the environment says how many.

    Without effect where this process has run a convolution before: oneDNN reads it once.
    """
    os.environ.setdefault(_CAPACITY, str(_PRIMITIVES))


def give_back() -> None:
    """Hand pages that hold nothing back to the system: to have them again costs some ms. man 3 malloc_trim."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # another C library than glibc decides for itself
        trim(0)
