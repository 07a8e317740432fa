"""A config's fields, each read by name with its type and range checked."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from antiphon.engine.errors import CheckpointError

MAX_SIZE: Final = 1 << 24  # of one dimension; beyond it a config is nonsense
MAX_LAYERS: Final = 1_000
_ABSENT: Final = object()


class Fields:
    """The fields of one config, or of one object in it.

    Every getter raises CheckpointError, naming the field, what it is and what was expected. A getter with a default
    takes an absent field for it.
    """

    def __init__(self, where: str, values: Mapping[str, Any], resolve: Callable[[str, Any], Any] | None = None) -> None:
        """`where` is the file, and the path within it; `resolve` is given a field's path and raw value."""
        self.where = where
        self._values = values
        self._resolve = resolve

    def value(self, key: str, default: Any = _ABSENT) -> Any:
        """The field as it stands, references followed."""
        if key not in self._values:
            if default is _ABSENT:
                raise CheckpointError(f"{self.where} has no {key}; expected the fields of the published file.")
            return default
        value = self._values[key]
        return value if self._resolve is None else self._resolve(f"{self.where}: {key}", value)

    def size(self, key: str, default: Any = _ABSENT, at_most: int = MAX_SIZE) -> int:
        """An integer from 1 to `at_most`."""
        return self._size(key, self.value(key, default), at_most)

    def sizes(self, key: str) -> tuple[int, ...]:
        """A list of integers from 1 on, at least one."""
        values = self._list(key, self.value(key))
        return tuple(self._size(key, value, MAX_SIZE) for value in values)

    def size_lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """A list of lists of integers from 1 on, none of them empty."""
        lists = [self._list(key, value) for value in self._list(key, self.value(key))]
        return tuple(tuple(self._size(key, value, MAX_SIZE) for value in values) for values in lists)

    def number(self, key: str, default: Any = _ABSENT, least: float = 0.0, most: float = 1e9) -> float:
        """A finite number from `least` to `most`."""
        value = self.value(key, default)
        if type(value) not in (int, float) or not least <= value <= most:  # NaN compares false
            self.refuse(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def expect(self, key: str, expected: Any, default: Any = _ABSENT) -> None:
        """Refuse any value but the one that this engine computes with."""
        value = self.value(key, default)
        # True equals 1 in Python, but not in a config.
        if value != expected or isinstance(value, bool) != isinstance(expected, bool):
            self.refuse(key, f"{_written(expected)}, the only value this engine supports")

    def refuse(self, key: str, expected: str) -> None:
        """Raise for a field that is not what was `expected`."""
        raise CheckpointError(f"{self.where}: {key} is {_written(self._values.get(key))}; expected {expected}.")

    def _list(self, key: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            self.refuse(key, "a list that is not empty")
        values: list[Any] = value
        return values

    def _size(self, key: str, value: Any, at_most: int) -> int:
        if type(value) is not int or not 1 <= value <= at_most:
            self.refuse(key, f"an integer from 1 to {at_most}")
        size: int = value
        return size


def divides(fields: Fields, divisor: str, dividend: str, *, given: tuple[int, int]) -> None:
    """Refuse unless `given[0]`, the field `divisor`, divides `given[1]`, the field `dividend`."""
    if given[1] % given[0]:
        fields.refuse(divisor, f"a divisor of {dividend} = {given[1]}")


def _written(value: Any) -> str:
    """A value as the file has it, shortened."""
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else repr(value)
    text = str(text)
    return text if len(text) <= 80 else text[:77] + "..."
