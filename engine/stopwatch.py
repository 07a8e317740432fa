"""Where the time of one turn goes, stage by stage."""

from dataclasses import dataclass, field, replace
from enum import Enum

from antiphon.engine.events import StageSeconds, Timing


class Stage(Enum):
    """The engine's kinds of work."""

    HEAR = "hear"
    PREFILL = "prefill"
    DECODE = "decode"
    SPEAK = "speak"


@dataclass
class Stopwatch:
    """Started at the commit of a turn; times are the injected clock's, in seconds."""

    started: float
    _first_token: float | None = None
    _first_audio: float | None = None
    _stages: StageSeconds = field(default_factory=StageSeconds)
    _to_first_audio: StageSeconds | None = None

    def add(self, stage: Stage, seconds: float) -> None:
        """The turn took part in a batch of this stage that ran for `seconds`."""
        self._stages = replace(self._stages, **{stage.value: getattr(self._stages, stage.value) + seconds})

    def first_token(self, now: float) -> None:
        """An id came; only the first call counts."""
        if self._first_token is None:
            self._first_token = now

    def first_audio(self, now: float) -> None:
        """Audio was handed out; only the first call counts."""
        if self._first_audio is None:
            self._first_audio = now
            self._to_first_audio = self._stages

    def timing(self, now: float) -> Timing:
        """What there is to tell at the end of the turn."""
        return Timing(
            first_token=None if self._first_token is None else self._first_token - self.started,
            first_audio=None if self._first_audio is None else self._first_audio - self.started,
            total=now - self.started,
            stages=self._stages,
            stages_to_first_audio=self._to_first_audio,
        )
