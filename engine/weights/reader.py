"""A checkpoint's tensors by name, as data: shapes first and without reading any, values one at a time.

What is read is only ever numbers: a pickle that holds anything else is refused by torch's restricted unpickler before
it can do anything.
"""

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.folders import file_in, read_json
from antiphon.engine.weights.safetensors_file import StoredTensor, read_header, read_tensor

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
_SHARDS: Final = "model*.safetensors"


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor without reading it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    @property
    def elements(self) -> int:
        return prod(self.shape)


class TensorSource(Protocol):
    """Named tensors that are read when asked for."""

    @property
    def path(self) -> Path:
        """The file or folder they come from, to name in errors."""
        ...

    def names(self) -> Sequence[str]:
        """All names, in the order of the files."""
        ...

    def spec(self, name: str) -> TensorSpec:
        """Shape, dtype and file of the tensor `name`; KeyError when there is none."""
        ...

    def read(self, name: str) -> torch.Tensor:
        """Its values on the CPU, contiguous, in memory that the caller owns."""
        ...


def open_safetensors(folder: Path | str) -> TensorSource:
    """The tensors of an official folder: `model.safetensors`, or the shards its index names, or `model*.safetensors`.

    Only headers are read. Raises CheckpointError, naming the file and the tensor, for a file that is missing, truncated
    or malformed, an index that disagrees with its shards or leaves the folder, and a tensor that two shards hold.
    """
    folder = Path(folder)
    if (folder / SINGLE_FILE).exists():
        return _SafetensorsFolder(folder, [file_in(folder, SINGLE_FILE)])
    if (folder / INDEX_FILE).exists():
        index = _read_index(folder)
        source = _SafetensorsFolder(folder, [file_in(folder, name) for name in sorted(set(index.values()))])
        _check_index(folder / INDEX_FILE, index, source)
        return source
    shards = sorted(path.name for path in folder.glob(_SHARDS)) if folder.is_dir() else []
    if not shards:
        file_in(folder, SINGLE_FILE)  # refuses, naming the folder or the file
    return _SafetensorsFolder(folder, [file_in(folder, name) for name in shards])


def open_pickle(path: Path | str) -> TensorSource:
    """The tensors of a plain state dict that `torch.save` wrote.

    Values are mapped from the file, not loaded. Raises CheckpointError when the file is missing, truncated, links out
    of its folder, or holds anything but tensors by name; no code in it is run.
    """
    path = Path(path)
    path = file_in(path.parent, path.name)
    loaded = _load_pickle(path)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}; expected a plain dict of tensors by name.")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: the entry {name!r} is a {type(value).__name__}; expected a plain dict of tensors by name."
            )
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise CheckpointError(
                f"{path}: {name} is {value.layout} on {value.device}; expected a plain dense tensor of numbers."
            )
    return _StateDict(path, loaded)


class _SafetensorsFolder:
    """The tensors of one or more safetensors files."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder = folder
        self._stored: dict[str, tuple[Path, StoredTensor]] = {}
        for file in files:
            for name, stored in read_header(file).items():
                if name in self._stored:
                    raise CheckpointError(f"{name} is in both {self._stored[name][0]} and {file}; expected it once.")
                self._stored[name] = (file, stored)

    @property
    def path(self) -> Path:
        return self._folder

    def names(self) -> Sequence[str]:
        return tuple(self._stored)

    def spec(self, name: str) -> TensorSpec:
        file, stored = self._stored[name]
        return TensorSpec(stored.shape, stored.dtype, file)

    def read(self, name: str) -> torch.Tensor:
        return read_tensor(self._stored[name][0], name)


class _StateDict:
    """The tensors of a state dict, mapped from its file."""

    def __init__(self, path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
        self._path = path
        self._tensors = tensors

    @property
    def path(self) -> Path:
        return self._path

    def names(self) -> Sequence[str]:
        return tuple(self._tensors)

    def spec(self, name: str) -> TensorSpec:
        tensor = self._tensors[name]
        return TensorSpec(tuple(tensor.shape), tensor.dtype, self._path)

    def read(self, name: str) -> torch.Tensor:
        return self._tensors[name].detach().clone(memory_format=torch.contiguous_format)


def _read_index(folder: Path) -> dict[str, str]:
    """Tensor name → shard, of `model.safetensors.index.json`."""
    path = file_in(folder, INDEX_FILE)
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path} has no weight_map; expected an object of tensor names and their shards.")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not shard:
            raise CheckpointError(f"{path} gives {name} the shard {shard!r}; expected a file's name.")
    return weight_map


def _check_index(path: Path, index: Mapping[str, str], source: TensorSource) -> None:
    found = {name: source.spec(name).file for name in source.names()}
    for name, shard in index.items():
        if name not in found:
            raise CheckpointError(f"{path} says that {shard} holds {name}, which is not there. Download both again.")
        if found[name] != path.parent / shard:
            raise CheckpointError(f"{path} says that {shard} holds {name}, which is in {found[name].name}.")
    for name, file in found.items():
        if name not in index:
            raise CheckpointError(f"{file} holds {name}, which {path.name} does not name; expected the two to agree.")


def _load_pickle(path: Path) -> Any:
    """What a file of `torch.save` holds, by the restricted unpickler."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped and not zipfile.is_zipfile(path):
            raise CheckpointError(
                f"{path} is truncated: it has {path.stat().st_size} bytes and no table of contents at its end. "
                "Download or copy it again."
            )
        # Only the zip layout can be mapped; torch's older one is loaded whole.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"calls {called.group(1)}" if called else "is damaged or holds more than tensors"
        raise CheckpointError(
            f"{path} was refused and nothing in it was executed: its pickle {what}. Expected a plain state dict of "
            "tensors by name, as published."
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        # A damaged pickle fails wherever the unpickler happens to be.
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}: {error}); expected a state dict written by torch.save. "
            "Is the file damaged? Download or copy it again."
        ) from error
