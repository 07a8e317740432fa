"""One safetensors file: its header read and checked, its tensors read one at a time.

The library reads the values. The header is read here, because the library's refusal of a bad file does not say which
tensor is cut off or of the wrong size.

The format (huggingface/safetensors, README): the header's length as a little-endian u64, the header as JSON, then the
tensors' bytes, which begin at 0, follow one another without gaps and end where the file ends.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, TypeGuard

import torch
from safetensors import SafetensorError, safe_open

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.folders import parse_json

DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LENGTH_BYTES: Final = 8  # of the header's length
_MAX_HEADER_BYTES: Final = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int  # in the file, bytes
    stop: int


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name, without reading them.

    Raises CheckpointError, naming the file and where there is one the tensor, for a file that is truncated, has bytes
    to spare, or whose header is malformed.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(LENGTH_BYTES)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == LENGTH_BYTES else 0
            if not 0 < length <= min(size - LENGTH_BYTES, _MAX_HEADER_BYTES):
                raise CheckpointError(
                    f"{path} has {size} bytes and promises a header of {length}; expected a safetensors file. "
                    "It is truncated or no safetensors file: download or copy it again."
                )
            header = parse_json(file.read(length), f"the header of {path}")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    header.pop("__metadata__", None)
    begin = LENGTH_BYTES + length
    tensors = {name: _stored(entry, begin, f"{path}: {name}") for name, entry in header.items()}
    _check_extent(path, tensors, begin, size)
    return tensors


def read_tensor(path: Path, name: str) -> torch.Tensor:
    """A tensor's values, in memory of their own. Raises CheckpointError where the file has changed since its header."""
    try:
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name).clone()
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: {name} cannot be read now ({error}). Did the file change?") from error
    return tensor


def _stored(entry: Any, begin: int, where: str) -> StoredTensor:
    """A header's entry, checked."""
    fields = entry if isinstance(entry, dict) else {}
    shape, offsets = fields.get("shape"), fields.get("data_offsets")
    dtype = DTYPES.get(str(fields.get("dtype")))
    if dtype is None:
        raise CheckpointError(f"{where} has dtype {fields.get('dtype')!r}; expected one of {', '.join(DTYPES)}.")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{where} has the header entry {entry!r}; expected shape and two data_offsets.")
    found, expected = offsets[1] - offsets[0], prod(shape) * dtype.itemsize
    if found != expected:
        raise CheckpointError(f"{where} has {found} bytes; expected {expected} for shape {shape} of {fields['dtype']}.")
    return StoredTensor(tuple(shape), dtype, begin + offsets[0], begin + offsets[1])


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_extent(path: Path, tensors: dict[str, StoredTensor], begin: int, size: int) -> None:
    """The tensors must fill what is behind the header, to the last byte."""
    at = begin
    for name, stored in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if stored.start != at:
            raise CheckpointError(f"{path}: {name} begins at byte {stored.start}; expected {at}, the end of the last.")
        at = stored.stop
        if at > size:
            raise CheckpointError(
                f"{path} is truncated: it has {size} bytes, but {name} ends at byte {at}. Download or copy it again."
            )
    if at != size:
        raise CheckpointError(f"{path} has {size} bytes, its header describes {at}; expected no bytes to spare.")
