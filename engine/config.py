"""Settings of the engine and of one session. The command line takes its defaults from here."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from antiphon.engine.errors import InputError
from antiphon.engine.history import HistoryItem
from antiphon.engine.speak.chunking import DEFAULT_STREAMING, STREAMING_MODES, StreamingMode, checked_schedule
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.engine.think.sampling import SamplingParams


@dataclass(frozen=True)
class EngineConfig:
    """Budgets of one engine, and how it speaks where a session does not say."""

    page_size: int = 64  # positions a KV page holds
    kv_tokens: int = 65_536  # positions the KV pool holds, all dialogues together
    batch_tokens: int = 2_048  # positions one LM forward may compute, prefill and decode together
    solve_frames: int = 8_192  # mel frames, prompts included, that one Euler step of the flow takes together
    # What one forward may take, in seconds as they were measured: whoever is due first waits no longer for the others.
    lm_seconds: float = 0.1  # of the LM: long prompts are cut to it
    solve_seconds: float = 0.1  # one Euler step of the flow
    vocode_seconds: float = 0.1  # of the vocoder
    encode_seconds: float = 0.1  # of the speech encoder
    max_dialogues: int = 256  # open at once
    max_turn_seconds: float = 60.0  # caller audio in one turn
    max_text_characters: int = 32_768  # text in one turn
    max_unread_seconds: float = 120.0  # answer audio a session may leave unread before its turn pauses
    max_pending_inputs: int = 256  # inputs of one session the engine has not taken in yet
    streaming: StreamingMode = DEFAULT_STREAMING
    seamless: SeamlessSettings = field(default_factory=SeamlessSettings)  # of seamless streaming

    def __post_init__(self) -> None:
        for name in (
            "page_size",
            "kv_tokens",
            "batch_tokens",
            "solve_frames",
            "max_dialogues",
            "max_pending_inputs",
            "max_text_characters",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in (
            "lm_seconds",
            "solve_seconds",
            "vocode_seconds",
            "encode_seconds",
            "max_turn_seconds",
            "max_unread_seconds",
        ):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0 seconds.")
        _check_streaming(self.streaming)


@dataclass(frozen=True)
class SessionConfig:
    """Settings of one dialogue; the sampling defaults are the official demo's."""

    sampling: SamplingParams = field(
        default_factory=lambda: SamplingParams(temperature=0.2, top_p=0.8, max_new_tokens=2_000)
    )
    instructions: str | None = None  # system prompt; None: the official one for the first turn's kind
    tenant: str = ""  # whose dialogue it is: the KV of `instructions` is shared among those of one tenant alone
    history: Sequence[HistoryItem] = ()  # turns that came before, oldest first
    streaming: StreamingMode | None = None  # None: the engine's
    schedule: tuple[int, ...] | None = None  # as `SpeechDecoder.stream` takes it; None: the mode's own
    seamless: SeamlessSettings | None = None  # of seamless streaming; None: the engine's
    await_playback: bool = False  # an answer is over, and the next begins, once `Session.played` says it was heard

    def __post_init__(self) -> None:
        if not isinstance(self.sampling, SamplingParams):
            raise InputError(f"sampling is a {type(self.sampling).__name__}; expected SamplingParams.")
        if not isinstance(self.instructions, str | None):
            raise InputError(f"instructions is a {type(self.instructions).__name__}; expected a str or None.")
        if not all(isinstance(item, HistoryItem) for item in self.history):
            raise InputError("history holds something that is no HistoryItem; expected HistoryItems, oldest first.")
        if self.streaming is not None:
            _check_streaming(self.streaming)
        if self.schedule is not None:
            checked_schedule(self.schedule)

    def completed(self, engine: EngineConfig) -> "SessionConfig":
        """With the engine's choice wherever this one says nothing."""
        return replace(self, streaming=self.streaming or engine.streaming, seamless=self.seamless or engine.seamless)


def _check_streaming(mode: str) -> None:
    if mode not in STREAMING_MODES:
        raise InputError(f"streaming is {mode!r}; expected one of {', '.join(STREAMING_MODES)}.")
