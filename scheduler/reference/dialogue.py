"""One dialogue as the scheduler knows it: numbers, phases and deadlines. Times are seconds of one clock."""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from antiphon.scheduler.hearing import Hearing
from antiphon.scheduler.settings import Costs, Settings


class Phase(Enum):
    """What a dialogue's LM sequence is for at the moment."""

    IDLE = "idle"  # nobody waits for it
    LISTENING = "listening"  # its caller speaks: ids may be computed ahead
    ANSWERING = "answering"  # its turn waits for ids
    ENDING = "ending"  # the LM is through; audio may still be made


@dataclass
class Playback:
    """What a client has been sent of an answer, and when it runs out of it."""

    started: bool = False
    sent: float = 0.0  # seconds of audio
    runs_out: float = 0.0  # the moment at which all of it has been played

    def send(self, seconds: float, now: float) -> float:
        """More audio went out; how late it came: for how long playback had been dry."""
        if seconds == 0:
            return 0.0
        late = now - self.runs_out if self.started and now > self.runs_out else 0.0
        self.runs_out = self.runs_out + seconds if self.started and self.runs_out > now else now + seconds
        self.started = True
        self.sent += seconds
        return late

    def heard(self, now: float) -> float:
        """Seconds heard by now, as the clock says."""
        return self.sent - (self.runs_out - now) if self.runs_out > now else self.sent

    def report(self, seconds: float, now: float, slack: float) -> None:
        """The client says how much it has heard: believed up to what was sent, and to the clock with some slack."""
        left = self.sent - min(seconds, self.sent, self.heard(now) + slack)
        self.runs_out = now + left if left > 0 else min(self.runs_out, now)


@dataclass
class Chunk:
    """A chunk of speech between the moment its tokens are there and the moment its audio is."""

    solve_frames: int  # of the flow's call, prompt included
    wave_frames: int  # that become audio
    steps: int = 0  # Euler steps done
    planned: int = 0  # steps the latest plan asks for
    vocoding: bool = False  # the latest plan asks for its audio
    passed: float = 0.0  # seconds of steps it was passed over for first chunks


@dataclass(eq=False)
class Dialogue:
    """Invariants: shared ≤ len(pages); pages hold `computed` positions and those planned; computed ≤ total."""

    number: int
    touched: float  # when its KV was last of use
    prefix: int | None = None
    phase: Phase = Phase.IDLE
    pages: list[int] = field(default_factory=list)
    shared: int = 0  # of the pages, the first so many belong to a prefix
    computed: int = 0  # positions whose KV is in the pages
    total: int = 0  # positions there are ids for
    planned: int = 0  # positions the latest plan computes
    since: float = 0.0  # when it began to listen
    past: int = 0  # positions there were when it began to listen: those after them are worked on ahead
    committed: float = 0.0  # when its turn was committed
    arrival: int = 0  # the order of commits
    playback: Playback = field(default_factory=Playback)
    unread: float = 0.0  # seconds of audio that its client has not taken
    encode_frames: int = 0  # of audio that wait for the encoder
    encode_since: float = 0.0  # when they began to
    hearing: Hearing = Hearing.COMMITTED
    encode_planned: bool = False
    chunk: Chunk | None = None

    def due(self, settings: Settings, now: float) -> float:
        """When its next audio must be there. One that has run dry already lets those pass that can still be saved."""
        if not self.playback.started:
            return self.committed + settings.first_audio_seconds
        runs_out = self.playback.runs_out
        return runs_out + settings.patience_seconds if runs_out < now else runs_out

    def pending(self, settings: Settings) -> float:
        """Seconds of audio in the chunk under way."""
        return self.chunk.wave_frames * settings.frame_seconds if self.chunk is not None else 0.0

    def lm_due(self, settings: Settings, now: float) -> float:
        """When the chunk after the one under way must be there, which is the one the LM works for."""
        return self.due(settings, now) + self.pending(settings)

    def lm_wakes(self, settings: Settings) -> float:
        """The LM may go on from then: playback is no longer further behind than the limit."""
        if not self.playback.started:
            return -inf
        return self.playback.runs_out + self.pending(settings) - settings.max_lead_seconds

    def chunk_wakes(self, settings: Settings) -> float:
        """The chunk may start from then."""
        return self.playback.runs_out - settings.max_lead_seconds if self.playback.started else -inf

    @property
    def wants_lm(self) -> bool:
        """Whether its turn waits for positions to be computed."""
        return self.phase is Phase.ANSWERING and self.computed < self.total

    @property
    def ahead(self) -> int:
        """Positions to compute before the commit: all but the last, so that one is left to answer from."""
        return max(0, self.total - 1 - self.computed) if self.phase is Phase.LISTENING else 0

    def has_backlog(self, settings: Settings) -> bool:
        """Whether its client has left too much audio unread."""
        return self.unread > settings.max_unread_seconds

    def lm_paused(self, now: float, settings: Settings) -> bool:
        """Whether the LM leaves it alone for now."""
        return self.has_backlog(settings) or now < self.lm_wakes(settings)

    def chunk_paused(self, now: float, settings: Settings) -> bool:
        """Whether its chunk, if it waits, does not start for now. One that has started goes on."""
        return self.has_backlog(settings) or now < self.chunk_wakes(settings)

    def step_cost(self, costs: Costs) -> float:
        """Seconds of one Euler step of its chunk."""
        assert self.chunk is not None, "only a chunk is solved"
        frames = float(self.chunk.solve_frames)
        return costs.solve_frame * frames + costs.solve_frame_squared * frames * frames
