"""Callers who come, talk, interrupt and go at random moments, on the engine's loop and a clock that a seed moves.

Nothing here waits: time passes as the seed says, so thousands of moments fit into a minute.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from antiphon.engine.clock import VirtualClock
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.events import AudioOutput, FinishReason, ResponseCompleted
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.loop import EngineLoop
from antiphon.engine.messages import (
    AudioRead,
    Cancel,
    ClearInput,
    CloseDialogue,
    Commit,
    DialogueEnded,
    OpenDialogue,
    Outgoing,
    PushAudio,
    PushText,
    Report,
)
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.sampling import SamplingParams

_RATE: Final = 8_000  # Hz
_TURNS: Final = 3  # after which a caller goes


@dataclass
class Walk:
    """A random walk through the loop's commands. Counts what came of them."""

    loop: EngineLoop
    clock: VirtualClock
    random: np.random.Generator
    max_new_tokens: int
    answers: dict[FinishReason, int] = field(default_factory=lambda: dict.fromkeys(FinishReason, 0))
    faults: list[str] = field(default_factory=list)  # of dialogues that the engine ended
    opened: int = 0
    _turns: dict[str, int] = field(default_factory=dict)  # asked so far, of each open dialogue
    _open: dict[str, bool] = field(default_factory=dict)  # whether an answer is awaited
    _read: list[AudioRead] = field(default_factory=list)

    def round(self, dialogues: int, acts: int = 1) -> None:
        """Somebody comes, speaks, interrupts or goes, `acts` times; then a few steps of the loop."""
        for _ in range(acts):
            self._act(dialogues)
        for _ in range(self.random.integers(6)):
            self._step()
        self.clock.advance(float(self.random.exponential(0.05)))

    def _act(self, dialogues: int) -> None:
        if len(self._open) < dialogues:
            self._arrive()
        name = str(self.random.choice(list(self._open)))
        if self._open[name]:
            self._disturb(name)
        elif self._turns[name] < _TURNS:
            self._ask(name)
        else:
            self._leave(name)

    def finish(self) -> None:
        """Everybody goes, and the loop comes to rest."""
        for name in list(self._open):
            self._leave(name)
        while self._step():
            pass

    def take(self, report: Report) -> None:
        """The loop's reports come here."""
        match report:
            case Outgoing(name, AudioOutput() as audio):
                self._read.append(AudioRead(name, audio.samples.size))
            case Outgoing(name, ResponseCompleted() as completed):
                self.answers[completed.finish_reason] += 1
                if name in self._open:
                    self._open[name] = False
            case DialogueEnded(name, fault):
                if fault is not None:
                    self.faults.append(fault)
                self._open.pop(name, None)

    def _step(self) -> bool:
        reads, self._read = self._read, []
        for read in reads:
            self.loop.submit(read)
        return self.loop.step()

    def _arrive(self) -> None:
        name = f"caller {self.opened}"
        self.opened += 1
        self._open[name], self._turns[name] = False, 0
        sampling = SamplingParams(max_new_tokens=self.max_new_tokens, seed=self.opened)
        self.loop.submit(OpenDialogue(name, SessionConfig(sampling=sampling)))

    def _ask(self, name: str) -> None:
        if self.random.random() < 0.5:
            self.loop.submit(PushText(name, "is anybody there"))
        else:
            samples = int(self.random.integers(1, _RATE))
            pcm = self.random.normal(scale=0.1, size=samples).astype(np.float32)
            self.loop.submit(PushAudio(name, np.clip(pcm, -1, 1), _RATE))
            if self.random.random() < 0.1:
                self.loop.submit(ClearInput(name))
                return
        self.loop.submit(Commit(name, f"{name}.{self._turns[name]}"))
        self._turns[name] += 1
        self._open[name] = True

    def _disturb(self, name: str) -> None:
        chance = self.random.random()
        if chance < 0.8:
            self.loop.submit(Cancel(name, None))
        elif chance < 0.95:
            self._leave(name)

    def _leave(self, name: str) -> None:
        del self._open[name], self._turns[name]
        self.loop.submit(CloseDialogue(name))


def walk(
    tokenizer: SpeechTokenizer,
    lm: LanguageModel,
    decoder: SpeechDecoder,
    seed: int,
    config: EngineConfig | None = None,
    max_new_tokens: int = 39,
) -> Walk:
    """A walk over a loop of its own."""
    clock = VirtualClock()
    walks: list[Walk] = []
    loop = EngineLoop(tokenizer, lm, decoder, config or EngineConfig(), clock, lambda report: walks[0].take(report))
    walks.append(Walk(loop, clock, np.random.default_rng(seed), max_new_tokens))
    return walks[0]
