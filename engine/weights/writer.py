"""Safetensors files, written tensor by tensor; a tensor may be made as it is written, and memory holds one block."""

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import torch

from antiphon.engine.weights.reader import INDEX_FILE, SINGLE_FILE
from antiphon.engine.weights.safetensors_file import DTYPES

Progress = Callable[[str], None]  # takes a line to show

_DTYPE_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT: Final = 8  # of the header, bytes


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor to be: what is known of it, and its rows in order."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    blocks: Callable[[], Iterable[torch.Tensor]]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @classmethod
    def of(cls, name: str, tensor: torch.Tensor) -> "PlannedTensor":
        """One that is there already."""
        return cls(name, tuple(tensor.shape), tensor.dtype, lambda: [tensor])


def write_file(path: Path, tensors: Sequence[PlannedTensor]) -> None:
    """Write one safetensors file, readable for its owner's umask."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        offsets = [at, at + tensor.bytes]
        header[tensor.name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        at = offsets[1]
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in tensors:
            for block in tensor.blocks():
                file.write(block.to(tensor.dtype).contiguous().reshape(-1).view(torch.uint8).numpy().data)


def write_shards(folder: Path, tensors: Sequence[PlannedTensor], shard_bytes: int, progress: Progress) -> None:
    """Write `model.safetensors`, or where that exceeds `shard_bytes` shards with their index, as transformers does."""
    shards = _shards(tensors, shard_bytes)
    if len(shards) == 1:
        write_file(folder / SINGLE_FILE, tensors)
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        progress(f"{folder.name}/{name}: {sum(tensor.bytes for tensor in shard):,} bytes")
        write_file(folder / name, shard)
        weight_map |= {tensor.name: name for tensor in shard}
    total = sum(tensor.bytes for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")


def _shards(tensors: Sequence[PlannedTensor], shard_bytes: int) -> list[list[PlannedTensor]]:
    """The tensors in their order, no shard larger than `shard_bytes` unless one tensor is."""
    shards: list[list[PlannedTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.bytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.bytes
    return shards
