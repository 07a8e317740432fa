"""One answer on its way to the caller: wave to the wire's rate, in packets that are due, as far as it was not cut."""

from dataclasses import dataclass

from antiphon.engine.events import Interrupted
from antiphon.engine.service.convert import DialogueSettings
from antiphon.engine.service.pacing import Pacer, Packet
from antiphon.engine.service.playback import Heard, Playback
from antiphon.engine.service.wire_audio import WaveOut
from antiphon.engine.service.wire_events import TurnSpan
from antiphon.engine.timeline import WaveSample, WireSample, wave_sample_of, wire_sample_of
from antiphon.engine.types import Float32Array


@dataclass(eq=False)
class CommittedTurn:
    """A turn of the caller that waits for its answer, or is being answered."""

    response_id: str  # on the wire
    engine_id: str  # in the session
    span: TurnSpan
    ended_at: float  # the clock when the turn was over
    first_audio_at: float | None = None  # the clock at the answer's first packet
    is_over: bool = False  # it was cut, or heard to its end: nothing of it goes out, and the engine will complete it


class AnswerVoice:
    """An answer's audio. Times are seconds of one clock."""

    def __init__(self, turn: CommittedTurn, settings: DialogueSettings, max_lead: float) -> None:
        """`max_lead` seconds may be sent ahead of the playback."""
        rate = settings.output.rate
        self.turn = turn
        self.playback = Playback(turn.response_id, rate)
        self.pacer = Pacer(self.playback, rate, settings.packet, max_lead)
        self.is_told = False  # AudioCompleted was sent
        self.heard: Heard | None = None  # once it was cut
        self._rate = rate
        self._wave_out = WaveOut(settings.output)

    @property
    def seconds_waiting(self) -> float:
        """Audio that was made and not yet sent."""
        return self.pacer.waiting_samples / self._rate

    def push(self, wave: Float32Array) -> None:
        """More of the answer: f32[n] at 22.05 kHz."""
        self.pacer.push(self._wave_out.push(wave))

    def finish(self) -> None:
        """The answer has no more audio."""
        self.pacer.push(self._wave_out.finish())
        self.pacer.finish()

    def take(self, now: float) -> Packet | None:
        """The packet that is due, if any."""
        packet = self.pacer.take(now)
        if packet is not None and self.turn.first_audio_at is None:
            self.turn.first_audio_at = now
        return packet

    def cut(self, now: float) -> WaveSample:
        """Nothing more goes out. Returns how much of the wave was heard."""
        self.turn.is_over = True
        self.heard = self.playback.heard(now)
        self.pacer.clear()
        return wave_sample_of(self.heard.position, self._rate)

    def wire_position(self, sample: int) -> WireSample:
        """Where a wave sample of the answer stands in the output."""
        return wire_sample_of(WaveSample(sample), self._rate)

    def heard_when_cut(self, event: Interrupted) -> Heard:
        """What the client is told to have been heard: what was decided here, if it was."""
        return self.heard or Heard(self.wire_position(event.heard_samples), event.estimated)
