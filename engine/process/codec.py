"""Messages as bytes: JSON with raw audio behind it. Only the dataclasses that were registered can come out.

    {"PushAudio": ["dialogue-7", {"f32": 160}, 8000]}  then 640 bytes

A dataclass is its name and its fields in order, an Enum its name and the member's, an array its length, with its
samples behind the JSON in the order of mention. Sequences come out as tuples.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import numpy as np

from antiphon.engine.errors import AntiphonError
from antiphon.engine.types import Float32Array

_ARRAY: Final = "f32"
_PATH: Final = "path"
_SAMPLE_BYTES: Final = 4


class UnreadableMessageError(AntiphonError):
    """Bytes that are no message of ours: the two sides are not of one version, or one of them has a fault."""


class Codec:
    """Writes and reads the messages of `roots`: dataclasses, or unions of them, and all that their fields may hold."""

    def __init__(self, *roots: Any) -> None:
        kinds = list(_reachable(roots))
        self._kinds = {kind.__name__: kind for kind in kinds}
        assert len(self._kinds) == len(kinds), "a message's parts are told apart by their names"

    @property
    def kinds(self) -> tuple[type, ...]:
        """Every dataclass and Enum that may be part of a message."""
        return tuple(self._kinds.values())

    def encode(self, message: object) -> tuple[bytes, list[memoryview]]:
        """The message's JSON, and the samples behind it."""
        samples: list[memoryview] = []
        encoder = json.JSONEncoder(default=lambda value: self._encoded(value, samples), separators=(",", ":"))
        return encoder.encode(message).encode(), samples

    def decode(self, head: bytes, samples: memoryview) -> Any:
        """The message. Raises UnreadableMessageError."""
        reader = _Reader(self._kinds, samples)
        try:
            message = json.loads(head, object_hook=reader.built)
        except (ValueError, TypeError, LookupError) as error:
            raise UnreadableMessageError(f"a message cannot be read ({type(error).__name__}: {error}).") from error
        if reader.left or not dataclasses.is_dataclass(message):
            raise UnreadableMessageError(f"a message cannot be read: {reader.left} bytes too many, or no message.")
        return message

    def _encoded(self, value: object, samples: list[memoryview]) -> dict[str, Any]:
        name = type(value).__name__
        if self._kinds.get(name) is type(value):
            if isinstance(value, Enum):
                return {name: value.name}
            return {name: [getattr(value, field.name) for field in dataclasses.fields(value)]}  # type: ignore[arg-type]
        if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim == 1:
            samples.append(np.ascontiguousarray(value).data.cast("B"))
            return {_ARRAY: value.size}
        if isinstance(value, Path):
            return {_PATH: str(value)}
        if isinstance(value, np.generic):  # a count that came out of an array
            return value.item()  # type: ignore[no-any-return]
        raise TypeError(f"a {name} is no part of any message.")


class _Reader:
    """Builds one message's values, innermost first, which is the order in which the arrays were written."""

    def __init__(self, kinds: dict[str, type], samples: memoryview) -> None:
        self._kinds = kinds
        self._samples = samples

    @property
    def left(self) -> int:
        """Bytes of samples that no value has taken."""
        return len(self._samples)

    def built(self, given: dict[str, Any]) -> Any:
        ((name, value),) = given.items()
        if name == _ARRAY:
            return self._array(value)
        if name == _PATH:
            return Path(value)
        kind = self._kinds[name]
        if issubclass(kind, Enum):
            return kind[value]
        return kind(*(_as_tuple(one) for one in value))

    def _array(self, size: int) -> Float32Array:
        taken, self._samples = self._samples[: size * _SAMPLE_BYTES], self._samples[size * _SAMPLE_BYTES :]
        if len(taken) != size * _SAMPLE_BYTES:
            raise ValueError("samples are missing")
        return np.frombuffer(taken, np.float32).copy()  # torch wants arrays that may be written to


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if type(value) is list else value


def _reachable(roots: Iterable[Any]) -> Iterator[type]:
    """Every dataclass and Enum among `roots`, their parts and their fields."""
    waiting, seen = list(roots), set()
    while waiting:
        one = waiting.pop()
        waiting += get_args(one)  # of a union, a tuple and the like
        if isinstance(one, type) and one not in seen:
            seen.add(one)
            if dataclasses.is_dataclass(one):
                waiting += get_type_hints(one).values()
                yield one
            elif issubclass(one, Enum):
                yield one
