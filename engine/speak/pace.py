"""How fast the stages go, of one turn and of all, measured for the schedule of chunks."""

from typing import Final

from antiphon.engine.speak.schedule import StageTimes

_KEPT: Final = 0.8  # of what chunks before the newest count for, among all turns
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

    def chunk_came(self, now: float) -> float | None:
        """The wave of the chunk that was due. Returns the seconds that it took, None where none was due."""
        took = None if self._due is None else now - self._due
        self._chunk = self._chunk if took is None else took
        self._due = None
        return took


class ChunkSpeed:
    """What chunks took lately, whoever's they were: from when they were due until their wave was there."""

    def __init__(self) -> None:
        self._frames = self._seconds = 0.0  # of all chunks, the latest count most
        self._is_warm = False  # a first chunk compiles kernels and takes memory: it tells nothing

    @property
    def frame_seconds(self) -> float | None:
        """Seconds a mel frame of the flow's window; None until it is known."""
        return self._seconds / self._frames if self._frames else None

    def chunk_came(self, frames: int, seconds: float) -> None:
        """A chunk whose window had so many mel frames."""
        if self._is_warm:
            self._frames = _KEPT * self._frames + frames
            self._seconds = _KEPT * self._seconds + seconds
        self._is_warm = True
