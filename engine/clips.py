"""Whole clips through the engine's thread: audio to speech tokens, and speech tokens to audio, without a dialogue.

Every round of the loop does the next piece of each clip that waits, all of one kind in one packed forward: a block of
audio, or a chunk of speech. So a long clip holds up the dialogues by one piece at a time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from antiphon.engine.caller_loop import CallerLoop
from antiphon.engine.config import EngineConfig
from antiphon.engine.errors import AntiphonError, SessionClosedError
from antiphon.engine.hear.listener import Listener
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.messages import (
    ClipCommand,
    ClipEncoded,
    ClipFailed,
    ClipReport,
    ClipSpoken,
    DropClip,
    EncodeClip,
    SpeakClip,
)
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, Solving
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.types import Float32Array

_log = logging.getLogger(__name__)


class ClipFailedError(AntiphonError):
    """The engine failed at a clip; its log tells why."""


# The loop's side


class _Encoding:
    """A clip that is heard, as a turn would be."""

    def __init__(self, command: EncodeClip, tokenizer: SpeechTokenizer) -> None:
        self.name = command.clip
        self._listener = Listener(tokenizer, command.rate)
        self._listener.push(command.samples)
        self._listener.commit()

    @property
    def request(self) -> EncodeRequest | None:
        """The next piece; None where the clip is over."""
        return next(iter(self._listener.requests), None)

    def accept(self, result: EncodeResult) -> ClipReport | None:
        """Take a piece's result; what is to be reported."""
        self._listener.accept(result)
        return ClipEncoded(self.name, tuple(self._listener.finish())) if self._listener.is_finished else None


class _Speaking:
    """Speech tokens that are spoken, as an answer would be."""

    def __init__(self, command: SpeakClip, decoder: SpeechDecoder, config: EngineConfig) -> None:
        self.name = command.clip
        self._stream = decoder.stream(config.streaming, keep_chunks=False, settings=config.seamless)
        self._stream.feed(command.codes)
        self._stream.end()
        self._solving: Solving | None = None

    @property
    def request(self) -> ChunkJob | Solving | None:
        """The next piece, or where its solve stands; None where the clip is over."""
        return self._solving or self._stream.next_job

    def accept(self, result: Solving | ChunkResult) -> ClipReport | None:
        """Take a step of a piece, or its result; what is to be reported."""
        self._solving = result if isinstance(result, Solving) else None
        if isinstance(result, Solving):
            return None
        return ClipSpoken(self.name, self._stream.accept(result), is_last=self._stream.next_job is None)


class Clips:
    """All clips of one loop. One thread calls it."""

    def __init__(
        self,
        tokenizer: SpeechTokenizer,
        decoder: SpeechDecoder,
        config: EngineConfig,
        report: Callable[[ClipReport], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._decoder = decoder
        self._config = config
        self._report = report
        self._encoding: dict[str, _Encoding] = {}
        self._speaking: dict[str, _Speaking] = {}

    def __len__(self) -> int:
        """How many are not finished."""
        return len(self._encoding) + len(self._speaking)

    def take(self, command: ClipCommand) -> None:
        """A command that reached the loop. A clip that cannot be used ends with ClipFailed."""
        try:
            match command:
                case EncodeClip():
                    self._encoding[command.clip] = _Encoding(command, self._tokenizer)
                case SpeakClip():
                    self._speaking[command.clip] = _Speaking(command, self._decoder, self._config)
                case DropClip():
                    self._forget(command.clip)
        except Exception as error:  # whatever is wrong with one clip must not end the loop
            self._fail(command.clip, error)

    def step(self) -> bool:
        """Do the next step of every clip. Returns whether there was one."""
        encoding, speaking = list(self._encoding.values()), list(self._speaking.values())
        self._run(encoding, self._tokenizer.run)
        self._run(speaking, self._speak)
        return bool(encoding or speaking)

    def _speak(self, requests: Sequence[ChunkJob | Solving]) -> list[Solving | ChunkResult]:
        """One Euler step for each. A whole solve at once would keep all dialogues waiting."""
        begun = iter(self._decoder.begin([one for one in requests if isinstance(one, ChunkJob)]))
        advanced = self._decoder.advance([one if isinstance(one, Solving) else next(begun) for one in requests])
        done = iter(self._decoder.finish([one for one in advanced if one.is_done]))
        return [next(done) if one.is_done else one for one in advanced]

    def _run(self, clips: Sequence[Any], forward: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        """One packed forward over clips of one kind. Where it raises, each clip is run by itself."""
        if not clips:
            return
        try:
            results = forward([clip.request for clip in clips])
        except Exception as error:  # as the loop does: only the clip whose own piece raises is lost
            if len(clips) == 1:
                self._fail(clips[0].name, error)
                return
            for clip in clips:
                self._run([clip], forward)
            return
        for clip, result in zip(clips, results, strict=True):
            report = clip.accept(result)
            if clip.request is None:
                self._forget(clip.name)
            if report is not None:
                self._report(report)

    def _fail(self, name: str, error: Exception) -> None:
        _log.error("clip %s failed with %s", name, type(error).__name__, exc_info=error)
        self._forget(name)
        self._report(ClipFailed(name, type(error).__name__))

    def _forget(self, name: str) -> None:
        self._encoding.pop(name, None)
        self._speaking.pop(name, None)


# The caller's side


class EngineSide(Protocol):
    """What a clip needs of its engine; all of it may be called from any thread and returns at once."""

    def open_clip(self, clip: "Clip") -> None: ...
    def submit(self, command: ClipCommand) -> None: ...
    def forget_clip(self, name: str) -> None: ...


class Clip:
    """One clip on its way through the engine. Entered with `async with`, on the caller's asyncio loop; leaving drops
    what is not done yet."""

    def __init__(self, name: str, command: EncodeClip | SpeakClip, engine: EngineSide) -> None:
        self.name = name
        self._command = command
        self._engine = engine
        self._reports: asyncio.Queue[ClipReport | str] = asyncio.Queue()  # a str: why there will be none
        self._caller: CallerLoop | None = None

    async def __aenter__(self) -> Self:
        self._caller = CallerLoop()
        self._engine.open_clip(self)
        self._engine.submit(self._command)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.submit(DropClip(self.name))
        self._engine.forget_clip(self.name)

    async def ids(self) -> list[int]:
        """The speech tokens of an EncodeClip. Raises ClipFailedError, SessionClosedError when the engine is gone."""
        report = await self._next()
        assert isinstance(report, ClipEncoded), f"a clip that is heard got {type(report).__name__}"
        return list(report.ids)

    async def waves(self) -> AsyncIterator[Float32Array]:
        """The audio of a SpeakClip, f32[n] at 22.05 kHz piece by piece. Raises as `ids`."""
        while True:
            report = await self._next()
            assert isinstance(report, ClipSpoken), f"a clip that is spoken got {type(report).__name__}"
            if report.samples.size:
                yield np.asarray(report.samples)
            if report.is_last:
                return

    def deliver(self, report: ClipReport) -> None:
        """Called by the engine, from its own thread."""
        self._post(report)

    def fail(self, why: str) -> None:
        """Called by the engine, from any thread, when it can serve no more."""
        self._post(why)

    def _post(self, report: ClipReport | str) -> None:
        assert self._caller is not None, "the engine knows a clip only after it was entered"
        if not self._caller.post(self._reports.put_nowait, report):
            self._engine.submit(DropClip(self.name))
            self._engine.forget_clip(self.name)

    async def _next(self) -> ClipEncoded | ClipSpoken:
        report = await self._reports.get()
        if isinstance(report, str):
            raise SessionClosedError(report)
        if isinstance(report, ClipFailed):
            raise ClipFailedError(f"the engine failed at this clip with {report.kind}; its log tells more.")
        return report
