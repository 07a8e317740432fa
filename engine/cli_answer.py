"""`antiphon talk` and `antiphon say`: one turn through an embedded engine, told as it happens."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from antiphon.engine.config import SessionConfig
from antiphon.engine.engine import Engine
from antiphon.engine.errors import AntiphonError, InputError
from antiphon.engine.events import AudioOutput, ResponseCompleted, TextDelta
from antiphon.engine.hear.audio import check_audio
from antiphon.engine.hear.codec import read_audio, write_wav
from antiphon.engine.session import Session
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.types import Float32Array
from antiphon.engine.units import OUTPUT_RATE
from antiphon.engine.weights.provenance import is_random

Push = Callable[[Session], Awaitable[None]]  # gives a session its turn


@dataclass(frozen=True)
class AnswerOptions:
    """What the two verbs share."""

    model: Path
    device: str
    dtype: str
    out: Path
    json: bool
    session: SessionConfig

    @classmethod
    def of(cls, options: argparse.Namespace) -> "AnswerOptions":
        """From the parsed command line."""
        sampling = SamplingParams(
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            seed=options.seed,
            max_new_tokens=options.max_new_tokens,
        )
        session = SessionConfig(sampling=sampling, instructions=options.instructions, streaming=options.streaming)
        return cls(options.model, options.device, options.dtype, options.out, options.json, session)


@dataclass(frozen=True)
class _Spoken:
    """An answer as it was received."""

    text: str
    wave: Float32Array
    completed: ResponseCompleted


def check_writable(out: Path) -> None:
    """Raise InputError, before anything is computed, when the answer could not be written to `out`."""
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out {out} cannot be written; expected a file name in a folder that exists.")


def answer_audio(audio: Path, options: AnswerOptions) -> int:
    """Answer a recorded question. Returns the exit code."""
    pcm, rate = read_audio(audio)
    _tell(f"heard    {audio}: {pcm.shape[-1] / rate:.2f} s at {rate} Hz")

    async def push(session: Session) -> None:
        await session.push_audio(check_audio(pcm), rate)

    return _answer(push, options)


def answer_text(text: str, options: AnswerOptions) -> int:
    """Answer a written question. Returns the exit code."""

    async def push(session: Session) -> None:
        await session.push_text(text)

    return _answer(push, options)


def _answer(push: Push, options: AnswerOptions) -> int:
    check_writable(options.out)
    begun = time.monotonic()
    with Engine.load(options.model, options.device, options.dtype) as engine:
        seconds = time.monotonic() - begun
        _tell(f"model    {options.model} on {engine.lm.model.device}, {options.dtype}: {seconds:.2f} s to load")
        spoken = asyncio.run(_converse(engine, push, options.session))
    completed = spoken.completed
    if completed.failure is not None:
        raise AntiphonError(completed.failure.message)
    write_wav(options.out, spoken.wave, OUTPUT_RATE)
    if options.json:
        json.dump(_summary(spoken, options), sys.stdout, ensure_ascii=False)
        print()
    else:
        print(spoken.text)
        _tell_times(spoken)
    if is_random(options.model):
        _tell("note     this checkpoint has random weights: the words mean nothing and the voice is noise")
    _tell(f"answer   {options.out}: {spoken.wave.size / OUTPUT_RATE:.2f} s at {OUTPUT_RATE} Hz")
    return 0


async def _converse(engine: Engine, push: Push, config: SessionConfig) -> _Spoken:
    """Ask one question and receive the whole answer, with a line of progress."""
    text: list[str] = []
    waves: list[Float32Array] = []
    async with engine.session(config) as session:
        await push(session)
        await session.commit()
        async for event in session.events():
            match event:
                case TextDelta():
                    text.append(event.text)
                case AudioOutput():
                    waves.append(event.samples)
                case ResponseCompleted():
                    _end_progress()
                    return _Spoken("".join(text), np.concatenate([np.zeros(0, np.float32), *waves]), event)
            _show_progress(sum(map(len, text)), sum(wave.size for wave in waves) / OUTPUT_RATE)
    raise AntiphonError("the session ended before its answer did.")


def _tell_times(spoken: _Spoken) -> None:
    usage, timing = spoken.completed.usage, spoken.completed.timing
    stages = timing.stages
    _tell(
        f"hear     {stages.hear:6.3f} s  {usage.input_audio_tokens} speech tokens of {usage.input_audio_seconds:.2f} s"
    )
    _tell(f"prefill  {stages.prefill:6.3f} s  {usage.input_tokens} positions")
    _tell(
        f"decode   {stages.decode:6.3f} s  {usage.output_text_tokens} text and {usage.output_audio_tokens} speech "
        f"tokens, ended by {spoken.completed.finish_reason.value}"
    )
    _tell(f"speak    {stages.speak:6.3f} s  {usage.output_audio_seconds:.2f} s of audio")
    first = "none" if timing.first_audio is None else f"after {timing.first_audio:.3f} s"
    seconds = usage.output_audio_seconds
    factor = f"{timing.total / seconds:.2f}" if seconds else "none"
    _tell(f"whole    {timing.total:6.3f} s  first audio {first}, real-time factor {factor}")


def _summary(spoken: _Spoken, options: AnswerOptions) -> dict[str, object]:
    completed = spoken.completed
    return {
        "text": spoken.text,
        "wav": str(options.out),
        "finish_reason": completed.finish_reason.value,
        "usage": asdict(completed.usage),
        "timing": asdict(completed.timing),
        "random_weights": is_random(options.model),
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _show_progress(characters: int, seconds: float) -> None:
    if sys.stderr.isatty():
        print(f"\r         {characters} characters, {seconds:.1f} s of audio", end="", file=sys.stderr, flush=True)


def _end_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
