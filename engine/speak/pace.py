"""How fast one turn's stages go, measured for the schedule of its chunks."""

from typing import Final

from antiphon.engine.speak.schedule import StageTimes

_NEW_SHARE: Final = 0.05  # of the last id in the mean: one stall must not pass for a slow LM


class Pace:
    """Told when ids and chunks come, by a clock in seconds that is the same for all calls."""

    def __init__(self) -> None:
        self._last_id: float | None = None
        self._between_ids: float | None = None  # running mean
        self._due: float | None = None  # since when a chunk is due
        self._chunk: float | None = None  # what the last one took

    @property
    def times(self) -> StageTimes | None:
        """None until two ids and one chunk have come."""
        if self._between_ids is None or self._chunk is None:
            return None
        return StageTimes(self._between_ids, self._chunk)

    def id_came(self, now: float) -> None:
        """The LM chose an id."""
        if self._last_id is not None:
            last, mean = now - self._last_id, self._between_ids
            self._between_ids = last if mean is None else mean + _NEW_SHARE * (last - mean)
        self._last_id = now

    def chunk_is_due(self, now: float) -> None:
        """Only the first call after a chunk came counts."""
        if self._due is None:
            self._due = now

    def chunk_came(self, now: float) -> None:
        """The wave of the chunk that was due."""
        if self._due is not None:
            self._chunk = now - self._due
        self._due = None
