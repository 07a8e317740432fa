"""From a client's settings to ours: checked, field by field, with all that is wrong told at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf.duration_pb2 import Duration

from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import InputError
from antiphon.engine.hear.turn_taking import LONGEST_SECONDS, TurnDetectionSettings
from antiphon.engine.service.formats import NATIVE_FORMAT, WireFormat, format_violations
from antiphon.engine.service.host import Host
from antiphon.engine.service.pacing import packet_samples
from antiphon.engine.service.refusals import FieldViolation, InvalidRequestError
from antiphon.engine.service.wire_history import check_room, history_items, text_violations
from antiphon.engine.think.sampling import SEED_LIMIT, SamplingParams
from antiphon.v1 import session_pb2

_DEFAULT_CHUNK: Final = 100_000_000  # ns
_NANOSECONDS: Final = 1_000_000_000
_LARGEST_INT32: Final = 2**31 - 1


@dataclass(frozen=True)
class DialogueSettings:
    """Everything a dialogue is opened with, every default filled in."""

    session: SessionConfig  # what the engine is told
    input: WireFormat | None  # None: the caller writes
    output: WireFormat
    chunk: int  # ns, of audio in one AudioOutput
    listens: bool  # SERVER_VAD, not MANUAL
    detection: TurnDetectionSettings
    text_deltas: bool
    turn_history: bool
    resume_window: float  # seconds; 0: none

    @property
    def packet(self) -> int:
        """Output samples in one AudioOutput."""
        return packet_samples(self.chunk, self.output.rate)

    def to_message(self) -> session_pb2.SessionConfig:
        """As SessionStarted tells them: without the history."""
        sampling = self.session.sampling
        return session_pb2.SessionConfig(
            input_audio=None if self.input is None else self.input.to_message(),
            output_audio=self.output.to_message(),
            output_chunk=duration(self.chunk / _NANOSECONDS),
            turn_detection=_detection_message(self.listens, self.detection),
            sampling=session_pb2.Sampling(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                seed=sampling.seed,
                max_output_tokens=sampling.max_new_tokens,
            ),
            instructions=self.session.instructions or "",
            enable_text_deltas=self.text_deltas,
            enable_turn_history=self.turn_history,
            resume_window=duration(self.resume_window),
        )


def duration(seconds: float) -> Duration:
    """Seconds as the wire tells them."""
    message = Duration()
    message.FromNanoseconds(round(seconds * _NANOSECONDS))
    return message


async def dialogue_settings(
    config: session_pb2.SessionConfig, host: Host, where: str = "config", live: bool = True
) -> DialogueSettings:
    """The settings of a live call, or without `live` those of Respond. `where` is their path in the request.

    Raises InvalidRequestError (FIELD_INVALID, HISTORY_TOO_LARGE), and RefusalError (MODEL_MISMATCH) for a history of
    another model's ids.
    """
    wrong: list[FieldViolation] = []
    input_format = _format(config, "input_audio", where, wrong)
    output_format = _format(config, "output_audio", where, wrong) or NATIVE_FORMAT
    if not live:
        wrong += [
            FieldViolation(f"{where}.{name}", "it is for live calls; expected to be absent.")
            for name in ("turn_detection", "resume_window")
            if config.HasField(name)
        ]
    longest_turn = host.engine.config.max_turn_seconds
    detection = turn_detection(
        config.turn_detection,
        TurnDetectionSettings(max_turn=longest_turn),
        f"{where}.turn_detection",
        wrong,
    )
    listens = config.turn_detection.mode == session_pb2.TURN_DETECTION_MODE_SERVER_VAD
    if listens and not config.HasField("input_audio"):
        wrong.append(FieldViolation(f"{where}.input_audio", "absent; SERVER_VAD has to hear the caller."))
    chunk = _chunk(config, output_format, where, wrong)
    sampling = _sampling(config.sampling, f"{where}.sampling", wrong)
    window = _seconds(
        config, "resume_window", where, 0.0, (0.0, host.settings.max_resume_window), wrong, lowest_is_zero=True
    )
    text_violations(config.instructions, f"{where}.instructions", host, wrong)
    history = history_items(config.history, f"{where}.history", host, wrong)
    if wrong:
        raise InvalidRequestError(wrong)
    session = SessionConfig(
        sampling=sampling,
        instructions=config.instructions or None,
        history=history,
        await_playback=live,
    )
    await check_room(session, f"{where}.history", host)
    return DialogueSettings(
        session=session,
        input=input_format,
        output=output_format,
        chunk=chunk,
        listens=listens,
        detection=detection,
        text_deltas=config.enable_text_deltas,
        turn_history=config.enable_turn_history,
        resume_window=window,
    )


def updated_detection(
    update: session_pb2.TurnDetection, settings: TurnDetectionSettings, listens: bool, where: str
) -> TurnDetectionSettings:
    """Turn detection from a ConfigUpdate on. Raises InvalidRequestError."""
    wrong: list[FieldViolation] = []
    changed = turn_detection(update, settings, where, wrong)
    vad = session_pb2.TURN_DETECTION_MODE_SERVER_VAD
    mode = vad if listens else session_pb2.TURN_DETECTION_MODE_MANUAL
    if not wrong and update.mode not in (session_pb2.TURN_DETECTION_MODE_UNSPECIFIED, mode):
        wrong.append(FieldViolation(f"{where}.mode", "it cannot change while the dialogue lasts; leave it out."))
    if wrong:
        raise InvalidRequestError(wrong)
    return changed


def turn_detection(
    message: session_pb2.TurnDetection, base: TurnDetectionSettings, where: str, wrong: list[FieldViolation]
) -> TurnDetectionSettings:
    """`base` with what `message` says otherwise; what is wrong with it goes to `wrong`."""
    if message.mode not in session_pb2.TurnDetectionMode.values():
        wrong.append(FieldViolation(f"{where}.mode", f"{message.mode}; expected MANUAL (1) or SERVER_VAD (2)."))
    threshold = base.threshold
    if message.HasField("speech_threshold"):
        threshold = message.speech_threshold
        if not 0.01 <= threshold <= 1:
            wrong.append(FieldViolation(f"{where}.speech_threshold", f"{threshold}; expected 0.01 to 1."))
    ranges = {
        "prefix_padding": (0.0, base.max_turn / 3),
        "end_silence": (0.01, LONGEST_SECONDS),
        "min_barge_in_speech": (0.0, LONGEST_SECONDS),
        "no_barge_in_window": (0.0, LONGEST_SECONDS),
    }
    seconds = {
        name: _seconds(message, name, where, getattr(base, name), limits, wrong) for name, limits in ranges.items()
    }
    idle = _seconds(
        message,
        "idle_timeout",
        where,
        base.idle_timeout or 0.0,
        (0.1, LONGEST_SECONDS),
        wrong,
        lowest_is_zero=True,
    )
    if wrong:
        return base
    try:
        return replace(base, threshold=threshold, idle_timeout=idle or None, **seconds)
    except InputError as error:
        wrong.append(FieldViolation(where, str(error)))
        return base


def check_text(text: str, field: str, host: Host) -> None:
    """A written turn. Raises InvalidRequestError when it is empty or too long."""
    wrong: list[FieldViolation] = []
    if not text.strip():
        wrong.append(FieldViolation(field, "nothing but white space; expected at least one other character."))
    text_violations(text, field, host, wrong)
    if wrong:
        raise InvalidRequestError(wrong)


def _detection_message(listens: bool, settings: TurnDetectionSettings) -> session_pb2.TurnDetection:
    vad, manual = session_pb2.TURN_DETECTION_MODE_SERVER_VAD, session_pb2.TURN_DETECTION_MODE_MANUAL
    return session_pb2.TurnDetection(
        mode=vad if listens else manual,
        speech_threshold=settings.threshold,
        prefix_padding=duration(settings.prefix_padding),
        end_silence=duration(settings.end_silence),
        min_barge_in_speech=duration(settings.min_barge_in_speech),
        no_barge_in_window=duration(settings.no_barge_in_window),
        idle_timeout=duration(settings.idle_timeout or 0.0),
    )


def _format(config: session_pb2.SessionConfig, name: str, where: str, wrong: list[FieldViolation]) -> WireFormat | None:
    if not config.HasField(name):
        return None
    message = getattr(config, name)
    found = format_violations(message, f"{where}.{name}")
    wrong += found
    return None if found else WireFormat(message.encoding, message.sample_rate_hertz)


def _chunk(config: session_pb2.SessionConfig, output: WireFormat, where: str, wrong: list[FieldViolation]) -> int:
    """Nanoseconds of audio in one AudioOutput."""
    if not config.HasField("output_chunk"):
        return _DEFAULT_CHUNK
    chunk = config.output_chunk.seconds * _NANOSECONDS + config.output_chunk.nanos
    try:
        if not _is_whole(config.output_chunk):
            raise InputError(
                "its seconds and nanos are no Duration; expected one sign, and less than a second of nanos."
            )
        packet_samples(chunk, output.rate)
    except InputError as error:
        wrong.append(FieldViolation(f"{where}.output_chunk", str(error)))
    return chunk


def _seconds(
    message: session_pb2.SessionConfig | session_pb2.TurnDetection,
    name: str,
    where: str,
    default: float,
    limits: tuple[float, float],
    wrong: list[FieldViolation],
    lowest_is_zero: bool = False,
) -> float:
    """The Duration `name` in seconds; with `lowest_is_zero` it may be 0, too."""
    if not message.HasField(name):
        return default
    given: Duration = getattr(message, name)
    seconds = given.seconds + given.nanos / _NANOSECONDS
    lowest, highest = limits
    if not _is_whole(given) or not (lowest <= seconds <= highest or (lowest_is_zero and seconds == 0)):
        zero = "0, or " if lowest_is_zero and lowest > 0 else ""
        wrong.append(FieldViolation(f"{where}.{name}", f"{seconds:g} s; expected {zero}{lowest:g} to {highest:g} s."))
    return seconds


def _is_whole(given: Duration) -> bool:
    """Whether it is a Duration as protobuf defines it."""
    return abs(given.nanos) < _NANOSECONDS and given.seconds * given.nanos >= 0


def _sampling(message: session_pb2.Sampling, where: str, wrong: list[FieldViolation]) -> SamplingParams:
    """How ids are chosen, with a seed."""
    base = SessionConfig().sampling
    names = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "seed": "seed"}
    names["max_output_tokens"] = "max_new_tokens"
    given = {ours: getattr(message, name) for name, ours in names.items() if message.HasField(name)}
    allowed: dict[str, Callable[[float], bool]] = {
        "temperature": lambda value: math.isfinite(value) and value >= 0,
        "top_p": lambda value: 0 < value <= 1,
        "top_k": lambda value: 0 <= value <= _LARGEST_INT32,
        "seed": lambda value: 0 <= value < SEED_LIMIT,
        "max_new_tokens": lambda value: value >= 1,
    }
    expected = {
        "temperature": "a finite number, 0 or more",
        "top_p": "more than 0, at most 1",
        "top_k": "0 or more",
        "seed": "0 to 2^63 - 1",
        "max_new_tokens": "1 or more",
    }
    found = [
        FieldViolation(f"{where}.{name}", f"{given[ours]}; expected {expected[ours]}.")
        for name, ours in names.items()
        if ours in given and not allowed[ours](given[ours])
    ]
    wrong += found
    return base if found else replace(base, **given).seeded()
