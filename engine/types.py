"""Shared type aliases."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.integer]
# What the public face takes for audio, mel and the like; `as_float32` in `engine/arrays.py` turns it into an array.
ArrayLike = npt.NDArray[np.floating] | torch.Tensor | Sequence[float]
