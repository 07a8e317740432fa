"""`antiphon talk --server` and `antiphon say --server`: a call to a server, told as it happens."""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from antiphon.engine.errors import AntiphonError, CallError, InputError
from antiphon.engine.hear.audio import check_audio
from antiphon.engine.hear.codec import read_audio, write_wav
from antiphon.engine.hear.resample import resample
from antiphon.engine.service.client import Call, CallConfig, Client, Sampling, Tls, TurnDetection, linear16
from antiphon.engine.service.client_events import (
    AudioOutput,
    Event,
    GoAway,
    IdleTimeout,
    Interrupted,
    RequestRefused,
    ResponseCompleted,
    ResponseStarted,
    Resumed,
    SpeechStarted,
    TextDelta,
    TurnEnded,
)
from antiphon.engine.types import Float32Array
from antiphon.engine.units import MODEL_INPUT_RATE

KEY_VARIABLE: Final = "ANTIPHON_API_KEY"
PACKET_SECONDS: Final = 0.02  # of audio, sent at once at its own pace
_TAKEN_RATES: Final = (8_000, 16_000, 22_050, 24_000, 48_000)  # Hz; audio at another is resampled before it is sent
_RESUME_WINDOW: Final = 30.0  # seconds for which a broken line is tried again

Talk = Callable[[Call], Awaitable[None]]  # says what there is to say


@dataclass(frozen=True)
class CallOptions:
    """What the two verbs share."""

    server: str
    api_key: str | None
    tls: Tls | None
    out: Path
    json: bool
    realtime: bool
    sampling: Sampling
    instructions: str

    @classmethod
    def of(cls, options: argparse.Namespace) -> "CallOptions":
        """From the parsed command line. Raises InputError for a key file that cannot be read."""
        sampling = Sampling(
            options.temperature, options.top_p, options.top_k, options.seed, max_output_tokens=options.max_new_tokens
        )
        return cls(
            server=options.server,
            api_key=_api_key(options.api_key_file),
            tls=_tls(options),
            out=options.out,
            json=options.json,
            realtime=getattr(options, "realtime", False),
            sampling=sampling,
            instructions=options.instructions or "",
        )

    def config(self, input_rate: int | None) -> CallConfig:
        """The call's settings for a caller who speaks at `input_rate` Hz, or writes."""
        return CallConfig(
            input_audio=None if input_rate is None else linear16(input_rate),
            turn_detection=TurnDetection() if self.realtime else None,
            sampling=self.sampling,
            instructions=self.instructions,
            turn_history=False,
            resume_window=_RESUME_WINDOW,
        )


@dataclass
class _Heard:
    """The answers of a call, as they are received."""

    completed: list[ResponseCompleted] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    waves: list[list[Float32Array]] = field(default_factory=list)  # of each answer, as far as it was heard
    refused: list[CallError] = field(default_factory=list)

    def take(self, event: Event) -> None:
        match event:
            case ResponseStarted():
                self.texts.append("")
                self.waves.append([])
            case TextDelta():
                self.texts[-1] += event.text
            case AudioOutput():
                self.waves[-1].append(event.samples)
            case Interrupted() if self.waves and self.waves[-1]:
                self.waves[-1] = [np.concatenate(self.waves[-1])[: event.heard_samples]]
            case ResponseCompleted():
                self.completed.append(event)
            case RequestRefused():
                self.refused.append(event.error)


def call_audio(audio: Path, rate: int | None, options: CallOptions) -> int:
    """Speak a file to a server, or, for `-`, 16-bit PCM from standard input at `rate` Hz. Returns the exit code."""
    if str(audio) == "-":
        if rate is None:
            raise InputError("'-' reads raw 16-bit PCM, mono: say its rate in Hz with --rate.")
        return asyncio.run(_call(_speaker(_standard_input(rate), options.realtime), options, rate))
    if rate is not None:
        raise InputError("--rate goes with '-'; a file says its rate itself.")
    pcm, rate = read_audio(audio)
    speech = check_audio(pcm)
    _tell(f"speaks   {audio}: {speech.size / rate:.2f} s at {rate} Hz")
    if rate not in _TAKEN_RATES:
        speech, rate = resample(speech, rate, MODEL_INPUT_RATE), MODEL_INPUT_RATE
    return asyncio.run(_call(_speaker(_pieces(speech, rate), options.realtime), options, rate))


def call_text(text: str, options: CallOptions) -> int:
    """Write to a server. Returns the exit code."""

    async def talk(call: Call) -> None:
        await call.push_text(text)

    return asyncio.run(_call(talk, options, None))


async def _call(talk: Talk, options: CallOptions, input_rate: int | None) -> int:
    heard = _Heard()
    async with (
        Client(options.server, options.api_key, options.tls) as client,
        client.call(options.config(input_rate)) as call,
    ):
        _tell(f"call     {options.server}: dialogue {call.session_id}")
        failure: CallError | None = None
        talking = asyncio.create_task(_talk_to_the_end(talk, call))
        try:
            async for event in call.events():
                heard.take(event)
                _tell_event(event)
        except CallError as error:
            failure = error
        finally:
            talking.cancel()
            await asyncio.wait([talking])
        if failure is None and not talking.cancelled() and (fault := talking.exception()) is not None:
            raise fault
        assert call.output_format is not None
        output_rate = call.output_format.rate
    if heard.completed:  # what was heard is kept, however the call ended
        _tell_answers(heard, options, output_rate)
    if failure is not None:
        raise failure
    if not heard.completed:
        raise next(iter(heard.refused), AntiphonError("there was nothing to answer: no speech was heard."))
    return 0


async def _talk_to_the_end(talk: Talk, call: Call) -> None:
    try:
        await talk(call)
    except BaseException:
        await call.hang_up()
        raise
    await call.finish()


def _tell_answers(heard: _Heard, options: CallOptions, rate: int) -> None:
    wave = np.concatenate([np.zeros(0, np.float32), *chain.from_iterable(heard.waves)])
    write_wav(options.out, wave, rate)
    if options.json:
        json.dump(_summary(heard, options), sys.stdout, ensure_ascii=False)
        print()
    else:
        print("\n".join(heard.texts))
    _tell(f"answer   {options.out}: {wave.size / rate:.2f} s at {rate} Hz")
    failed = next((one.error for one in heard.completed if one.error is not None), None)
    if failed is not None:
        raise failed


def _summary(heard: _Heard, options: CallOptions) -> dict[str, Any]:
    answers = [
        {
            "text": text,
            "finish_reason": completed.finish_reason.name.lower(),
            "usage": asdict(completed.usage),
            "timing": asdict(completed.timing),
        }
        for text, completed in zip(heard.texts, heard.completed, strict=False)
    ]
    return {"text": "\n".join(heard.texts), "wav": str(options.out), "answers": answers}


def _speaker(pieces: AsyncIterator[bytes | Float32Array], realtime: bool) -> Talk:
    async def talk(call: Call) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        spoken = 0.0  # seconds
        async for piece in pieces:
            if realtime:
                await asyncio.sleep(begun + spoken - loop.time())
            await call.push_audio(piece)
            spoken += PACKET_SECONDS
        if not realtime:
            await call.commit()

    return talk


async def _pieces(speech: Float32Array, rate: int) -> AsyncIterator[Float32Array]:
    packet = round(PACKET_SECONDS * rate)
    for start in range(0, speech.size, packet):
        yield speech[start : start + packet]


async def _standard_input(rate: int) -> AsyncIterator[bytes]:
    """16-bit PCM as it comes, in packets. A thread of its own reads: one that waits for input cannot be stopped."""
    loop = asyncio.get_running_loop()
    packets: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)
    size = 2 * round(PACKET_SECONDS * rate)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the call is over
            while data := sys.stdin.buffer.read(size):
                asyncio.run_coroutine_threadsafe(packets.put(data), loop).result()
            asyncio.run_coroutine_threadsafe(packets.put(b""), loop).result()

    threading.Thread(target=read, name="antiphon-stdin", daemon=True).start()
    while data := await packets.get():
        yield data


def _tell_event(event: Event) -> None:
    match event:
        case SpeechStarted():
            _tell(f"hears    speech from input sample {event.start_sample}")
        case TurnEnded():
            _tell(f"turn     [{event.start_sample}, {event.end_sample}), {event.reason.name.lower()}")
        case IdleTimeout():
            _tell("idle     nobody speaks")
        case Interrupted():
            guess = ", estimated" if event.estimated else ""
            _tell(f"cut      {event.reason.name.lower()} after {event.heard_samples} samples{guess}")
        case ResponseCompleted():
            first = event.timing.first_audio
            told = "no audio" if first is None else f"first audio after {first:.3f} s"
            _tell(
                f"answered {event.usage.output_text_tokens} text and {event.usage.output_audio_tokens} speech tokens, "
                f"{told}, ended by {event.finish_reason.name.lower()}"
            )
        case RequestRefused():
            _tell(f"refused  {event.request}: {event.error}")
        case GoAway():
            _tell(f"go away  {event.reason.name.lower()}, {event.seconds_left:g} s left")
        case Resumed():
            _tell(f"resumed  the line had broken; {event.lost_samples} samples are lost")


def _api_key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE)
    try:
        return file.read_text().strip()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error


def _tls(options: argparse.Namespace) -> Tls | None:
    wants_tls = options.tls or options.tls_ca or options.tls_cert
    return Tls.read(options.tls_ca, options.tls_cert, options.tls_key) if wants_tls else None


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
