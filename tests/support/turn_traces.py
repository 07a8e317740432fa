"""Calls written as pictures: each character is one frame of 32 samples at 1,000 Hz.

`#` is voiced, `.` is not, and `=` lies between the exit threshold and the threshold. The settings are whole frames, so
that a reader can count characters.
"""

from antiphon.engine.hear.turn_taking import (
    Decision,
    EndReason,
    SpeechStarted,
    TurnDetectionSettings,
    TurnDetector,
    TurnEnded,
)
from antiphon.engine.hear.voice_activity import SpeechFrame
from antiphon.engine.timeline import InputSample

RATE, FRAME = 1_000, 32
PROBABILITY = {"#": 0.9, "=": 0.4, ".": 0.1}
SETTINGS = TurnDetectionSettings(
    prefix_padding=2 * 0.032,
    end_silence=5 * 0.032,
    min_speech=3 * 0.032,
    min_barge_in_speech=6 * 0.032,
    no_barge_in_window=10 * 0.032,
    idle_timeout=None,
    max_turn=40 * 0.032,
)
SILENCE, LIMIT = EndReason.SILENCE, EndReason.LIMIT


def at(frame: int) -> InputSample:
    return InputSample(frame * FRAME)


def started(frame: int, turn_start: int) -> SpeechStarted:
    return SpeechStarted(at(frame), at(turn_start), 0.9)


def ended(start: int, end: int, reason: EndReason = SILENCE) -> TurnEnded:
    return TurnEnded(at(start), at(end), reason)


def play(
    trace: str,
    settings: TurnDetectionSettings = SETTINGS,
    *,
    expected: int | None = None,
    playing: int | None = None,
    over: int | None = None,
) -> list[Decision]:
    """What is decided on `trace`, with an answer expected, played, and over from these frames on."""
    detector = TurnDetector(settings, RATE)
    for report, frame in (
        (detector.answer_expected, expected),
        (detector.answer_started, playing),
        (detector.answer_ended, over),
    ):
        if frame is not None:
            report(at(frame))
    return feed(detector, trace)


def feed(detector: TurnDetector, trace: str, first: int = 0) -> list[Decision]:
    decisions: list[Decision] = []
    for number, character in enumerate(trace, start=first):
        decisions += detector.observe(SpeechFrame(at(number), at(number + 1), PROBABILITY[character]))
    return decisions
