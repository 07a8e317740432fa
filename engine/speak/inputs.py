"""What a caller of the speech decoder hands over, checked."""

from collections.abc import Sequence

import numpy as np
import torch

from antiphon.engine.arrays import as_float32
from antiphon.engine.errors import InputError, TokenError
from antiphon.engine.types import ArrayLike, Float32Array, IntArray

TokensLike = Sequence[int] | IntArray | torch.Tensor


def checked_tokens(tokens: TokensLike, vocab_size: int, what: str = "tokens") -> list[int]:
    """`tokens` as a list, which may be empty. Raises TokenError unless each is a whole number of the vocabulary."""
    try:
        values = np.asarray(tokens.detach().cpu() if isinstance(tokens, torch.Tensor) else tokens)
    except ValueError as error:  # NumPy's word for lists of different lengths
        raise TokenError(f"{what} is not a flat list; expected a flat list of speech token ids.") from error
    if values.size == 0:
        return []
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise TokenError(
            f"{what} has shape {list(values.shape)} and dtype {values.dtype}; expected a flat list of speech token ids."
        )
    outside = (values < 0) | (values >= vocab_size)
    if outside.any():
        index = int(outside.argmax())
        raise TokenError(
            f"{what}[{index}] is {values[index]}, outside the decoder's vocabulary; expected 0 to {vocab_size - 1}."
        )
    ids: list[int] = values.tolist()
    return ids


def checked_mel(mel: ArrayLike, mel_bins: int, what: str = "mel", *, least_frames: int = 1) -> torch.Tensor:
    """f32[mel_bins, frames], a copy. Raises InputError unless it has that shape, frames enough, and all is finite."""
    values = as_float32(mel, what)
    if values.ndim != 2 or values.shape[0] != mel_bins or values.shape[1] < least_frames:
        raise InputError(
            f"{what} has shape {list(values.shape)}; expected [{mel_bins}, frames] with {least_frames} or more frames."
        )
    return _finite(values, what)


def checked_vector(values: ArrayLike, length: int, what: str) -> torch.Tensor:
    """f32[length], a copy. Raises InputError unless the shape is so and all values are finite."""
    vector = as_float32(values, what)
    if vector.shape != (length,):
        raise InputError(f"{what} has shape {list(vector.shape)}; expected [{length}].")
    return _finite(vector, what)


def _finite(values: Float32Array, what: str) -> torch.Tensor:
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise InputError(f"{wrong} of the {values.size} values of {what} are not finite.")
    return torch.tensor(values)
