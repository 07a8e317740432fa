"""Whose turn is it? From speech probabilities to the beginning and the end of turns, interruptions and idleness.

Time is the caller's audio: every position is an input sample, counted from the call's first, and nothing here asks a
clock. Frames come in order (`observe`); what the assistant does is reported with the input sample at which it happens,
and takes effect with the first frame that ends after it. So the pieces in which audio comes never change a decision.

    voiced        from a frame at the threshold or above until one below the exit threshold
    speech        begins with voice that lasts `min_speech` without a break, ends with a pause of `end_silence`
    turn          speech the assistant shall hear: all of it while no answer is under way; while one is, only speech
                  that interrupts it
    answer        under way from the moment the model is asked until its playback is over or it is cut

Whatever is shorter than `min_speech` is a blip: it neither starts a turn nor interrupts. Within a turn, any voice ends
the pause.

A turn's audio is [start, end):
    start   its first voiced sample less `prefix_padding`, but never before the end of the turn before it, nor before
            audio that could go (`keep_from`): a padding that is raised reaches as far back as the one before it kept
    end     the last sample of the pause of `end_silence` that ended it: that silence is kept
A turn holds at most `max_turn`. One that grows longer is ended at the last frame that fits, and where the caller speaks
on, the next turn starts at that very sample.

Speech interrupts an answer once it has been voiced for `min_barge_in_speech` altogether, at the earliest when
`no_barge_in_window` has passed since the playback began. It may have begun before or within the window, and is then
heard from its own beginning. An answer that is not yet played has no window: who speaks on meant to go on. Speech that
pauses for `end_silence` without having interrupted was a sound of listening ("mm-hm") and makes no turn.

Idle is a caller who says nothing while the assistant waits for them. Time counts from the latest of: the call's
beginning, the last frame of speech or of its closing pause, the end of the last answer. It stands still while an answer
is under way, however long the caller listens quietly, and blips do not stop it. It is told once, then again only after
speech or an answer.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from antiphon.engine.errors import InputError
from antiphon.engine.hear.audio import check_rate
from antiphon.engine.hear.voice_activity import SpeechFrame
from antiphon.engine.timeline import InputSample

HYSTERESIS: Final = 0.15  # of probability, between beginning and end of voice (silero-vad, utils_vad.py: VADIterator)
LOWEST_EXIT_THRESHOLD: Final = 0.01
LONGEST_SECONDS: Final = 3_600.0


@dataclass(frozen=True)
class TurnDetectionSettings:
    """When a turn begins and ends. Lengths are in seconds. Raises InputError for settings out of range."""

    threshold: float = 0.5  # probability from which on a frame is voiced, in [0.01, 1]
    prefix_padding: float = 0.3  # audio before the first voiced sample that belongs to the turn
    end_silence: float = 0.6  # a pause this long ends the turn; more than 0
    min_speech: float = 0.1  # voice without a break that is speech
    min_barge_in_speech: float = 0.3  # voice that interrupts an answer; it takes `min_speech` as well
    no_barge_in_window: float = 0.5  # nothing interrupts this early in an answer's playback
    idle_timeout: float | None = 60.0  # None: idleness is not told
    max_turn: float = 60.0  # longest turn, its padding and its closing pause included; at least 1

    def __post_init__(self) -> None:
        _check("threshold", self.threshold, 0.01, 1.0, "")
        for name in ("prefix_padding", "min_speech", "min_barge_in_speech", "no_barge_in_window"):
            _check(name, getattr(self, name), 0.0, LONGEST_SECONDS, " s")
        _check("end_silence", self.end_silence, 0.01, LONGEST_SECONDS, " s")
        _check("max_turn", self.max_turn, 1.0, LONGEST_SECONDS, " s")
        if self.idle_timeout is not None:
            _check("idle_timeout", self.idle_timeout, 0.1, LONGEST_SECONDS, " s")
        lead = self.prefix_padding + self.min_speech
        if lead > self.max_turn / 2:
            raise InputError(f"prefix_padding and min_speech are {lead} s; expected at most half of max_turn.")

    @property
    def exit_threshold(self) -> float:
        """The probability below which voice ends."""
        return min(self.threshold, max(self.threshold - HYSTERESIS, LOWEST_EXIT_THRESHOLD))


def _check(name: str, value: float, lowest: float, highest: float, unit: str) -> None:
    if not lowest <= value <= highest:  # NaN is out of range too
        raise InputError(f"{name} is {value}{unit}; expected {lowest} to {highest}{unit}.")


class EndReason(Enum):
    """Why a turn ended."""

    SILENCE = "silence"  # the caller paused
    LIMIT = "limit"  # it had reached the longest allowed
    COMMITTED = "committed"  # `end_turn` was called


@dataclass(frozen=True)
class SpeechStarted:
    """A turn has begun. The first decision of every turn."""

    at: InputSample  # the first voiced sample
    turn_start: InputSample  # the first sample of the turn, padding included
    probability: float  # of the frame that decided it


@dataclass(frozen=True)
class SpeechStopped:
    """The caller's last pause has become the turn's end. A turn cut while the caller speaks has none."""

    at: InputSample  # the first sample of that pause; from here to the turn's end is the detector's own delay


@dataclass(frozen=True)
class TurnEnded:
    """The turn is complete: its audio is [start, end). The last decision of every turn."""

    start: InputSample
    end: InputSample
    reason: EndReason


@dataclass(frozen=True)
class BargeIn:
    """The caller interrupts the answer under way. At most one for each answer and turn."""

    at: InputSample  # the sample up to which the caller was heard when it was decided


@dataclass(frozen=True)
class IdleTimeout:
    """Nobody has spoken for `idle_timeout`."""

    at: InputSample  # the sample at which the time was up


Decision = SpeechStarted | SpeechStopped | TurnEnded | BargeIn | IdleTimeout
_Report = Literal["expected", "started", "ended"]


@dataclass
class _Speech:
    """Speech in progress, whether or not it is a turn."""

    at: InputSample  # its first voiced sample
    turn_start: InputSample  # at or before `at`
    voiced: int  # samples of voice so far, pauses not counted
    pause_start: InputSample | None = None  # None: the caller is voiced
    is_turn: bool = False  # SpeechStarted was told
    interrupted: bool = False  # BargeIn was told for the answer under way


class TurnDetector:
    """One caller's turns. Not safe to share between threads."""

    def __init__(self, settings: TurnDetectionSettings, rate: int, start: int = 0) -> None:
        """For audio of `rate` Hz whose first frame starts at `start`. Raises AudioError for a rate out of range."""
        self._rate = check_rate(rate)
        self.settings = settings  # may be replaced between frames; `max_turn` stays
        self._heard = InputSample(start)  # end of the last frame
        self._free_from = self._heard  # end of the last turn: the next starts no earlier
        self._kept_from = self._heard  # what the settings in force kept as of the last frame: nor earlier than this
        self._voiced = False  # as of the last frame
        self._run_start: InputSample | None = None  # voice that is not yet speech began here
        self._speech: _Speech | None = None
        self._answering = False
        self._playing_since: InputSample | None = None  # None: no answer, or it is not played yet
        self._reports: list[tuple[InputSample, _Report]] = []  # not yet in effect, in order of position
        self._idle_since = self._heard
        self._idle_told = False

    @property
    def keep_from(self) -> InputSample:
        """The first input sample that the turn in progress, or a later one, may hold: earlier audio can go.

        It never moves back, whatever the settings become.
        """
        return max(self._free_from, self._kept_from)

    @property
    def pause_start(self) -> InputSample | None:
        """The first sample of the pause that the turn in progress is in; None where there is none."""
        return self._speech.pause_start if self._speech is not None and self._speech.is_turn else None

    def answer_expected(self, at: InputSample) -> None:
        """From `at` on the model works on an answer. A report undoes those that were given for a later sample."""
        self._report(at, "expected")

    def answer_started(self, at: InputSample) -> None:
        """At `at` the caller begins to hear an answer."""
        self._report(at, "started")

    def answer_ended(self, at: InputSample) -> None:
        """At `at` the answer was heard to its end, was cut, or failed."""
        self._report(at, "ended")

    def observe(self, frame: SpeechFrame) -> list[Decision]:
        """Take the next frame, which starts where the last one ended, and return what it decides."""
        if frame.start != self._heard or frame.end <= frame.start:
            raise ValueError(f"a frame [{frame.start}, {frame.end}) came after sample {self._heard}; frames must abut.")
        self._take_effect(frame.end)
        threshold = self.settings.exit_threshold if self._voiced else self.settings.threshold
        self._voiced = frame.probability >= threshold
        decisions = self._split_at_limit(frame)
        decisions += self._hear_voice(frame) if self._voiced else self._hear_pause(frame)
        self._heard = frame.end
        self._kept_from = max(self._kept_from, self._earliest_start())
        return decisions + self._count_idle_time()

    def end_turn(self, at: InputSample) -> list[Decision]:
        """End the turn in progress, if there is one, at `at`: all samples received are before it."""
        if (turn := self._speech) is None or not turn.is_turn:
            return []
        longest = turn.turn_start + self._samples(self.settings.max_turn)
        return self._end(turn, InputSample(min(max(at, self._heard), longest)), EndReason.COMMITTED)

    def discard(self, at: InputSample) -> None:
        """Forget the turn in progress and tell nothing of it; no later turn holds a sample before `at`."""
        self._speech = self._run_start = None
        self._free_from = max(self._free_from, at)

    def _earliest_start(self) -> InputSample:
        """Where the turn in progress starts, or the next one could by the settings in force."""
        if (speech := self._speech) is None:
            first_voiced = self._heard if self._run_start is None else self._run_start
            return InputSample(first_voiced - self._samples(self.settings.prefix_padding))
        longest = self._heard - self._samples(self.settings.max_turn)
        return speech.turn_start if speech.is_turn else InputSample(max(speech.turn_start, longest))

    def _samples(self, seconds: float) -> int:
        return round(seconds * self._rate)

    def _report(self, at: InputSample, report: _Report) -> None:
        self._reports = [earlier for earlier in self._reports if earlier[0] <= at] + [(at, report)]

    def _take_effect(self, before: InputSample) -> None:
        """Apply the reports of what happened before the sample `before`."""
        while self._reports and self._reports[0][0] < before:
            at, report = self._reports.pop(0)
            if self._speech is not None and (report == "expected" or not self._answering):
                self._speech.interrupted = False  # it has not met this answer
            self._answering = report != "ended"
            self._playing_since = at if report == "started" else None
            self._idle_since, self._idle_told = max(self._idle_since, at), False

    def _split_at_limit(self, frame: SpeechFrame) -> list[Decision]:
        """End a turn that the frame would make too long where the frame starts, and begin the next if they speak on."""
        turn = self._speech
        if turn is None or not turn.is_turn or frame.end - turn.turn_start <= self._samples(self.settings.max_turn):
            return []
        speaks_on = self._voiced and turn.pause_start is None
        if not self._voiced and turn.pause_start is None:
            turn.pause_start = frame.start
        decisions = self._end(turn, frame.start, EndReason.LIMIT)
        if speaks_on:
            self._speech = _Speech(frame.start, frame.start, voiced=0, is_turn=True)
            decisions.append(SpeechStarted(frame.start, frame.start, frame.probability))
        return decisions

    def _hear_voice(self, frame: SpeechFrame) -> list[Decision]:
        if (speech := self._speech) is not None:
            speech.pause_start = None
            speech.voiced += frame.end - frame.start
            return self._claim_turn(speech, frame)
        if self._run_start is None:
            self._run_start = frame.start
        voiced = frame.end - self._run_start
        if voiced < self._samples(self.settings.min_speech):
            return []
        turn_start = max(self.keep_from, self._run_start - self._samples(self.settings.prefix_padding))
        self._speech = _Speech(max(self._free_from, self._run_start), InputSample(turn_start), voiced)
        self._run_start = None
        return self._claim_turn(self._speech, frame)

    def _hear_pause(self, frame: SpeechFrame) -> list[Decision]:
        self._run_start = None
        if (speech := self._speech) is None:
            return []
        if speech.pause_start is None:
            speech.pause_start = frame.start
        if frame.end - speech.pause_start < self._samples(self.settings.end_silence):
            return []
        return self._end(speech, frame.end, EndReason.SILENCE)

    def _claim_turn(self, speech: _Speech, frame: SpeechFrame) -> list[Decision]:
        """Make speech a turn where nothing is in its way, or where it interrupts the answer that is."""
        decisions: list[Decision] = []
        if self._answering:
            played = None if self._playing_since is None else frame.end - self._playing_since
            too_early = played is not None and played < self._samples(self.settings.no_barge_in_window)
            too_short = speech.voiced < self._samples(self.settings.min_barge_in_speech)
            if speech.interrupted or too_early or too_short:
                return []
            speech.interrupted = True
            decisions.append(BargeIn(frame.end))
        if not speech.is_turn:
            speech.is_turn = True
            earliest = InputSample(frame.end - self._samples(self.settings.max_turn))
            speech.turn_start, speech.at = max(speech.turn_start, earliest), max(speech.at, earliest)
            decisions.insert(0, SpeechStarted(speech.at, speech.turn_start, frame.probability))
        return decisions

    def _end(self, speech: _Speech, at: InputSample, reason: EndReason) -> list[Decision]:
        """End the speech in progress at `at`; only a turn is told."""
        self._speech, self._idle_since = None, at
        if not speech.is_turn:
            return []
        self._free_from = at
        stopped: list[Decision] = [] if speech.pause_start is None else [SpeechStopped(speech.pause_start)]
        return [*stopped, TurnEnded(speech.turn_start, at, reason)]

    def _count_idle_time(self) -> list[Decision]:
        if self._answering or self._speech is not None:
            self._idle_since, self._idle_told = self._heard, False
        if self.settings.idle_timeout is None or self._idle_told:
            return []
        up = self._idle_since + self._samples(self.settings.idle_timeout)
        if self._heard < up:
            return []
        self._idle_told = True
        return [IdleTimeout(InputSample(up))]
