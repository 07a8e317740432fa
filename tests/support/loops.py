"""The engine's loop by itself, stepped by hand on a virtual clock."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from checkpoints import tiny_checkpoint

import antiphon
from antiphon.engine.clock import VirtualClock
from antiphon.engine.dialogue import Dialogue
from antiphon.engine.history import HistoryItem
from antiphon.engine.loop import EngineLoop
from antiphon.engine.messages import AudioRead, Commit, OpenDialogue, Outgoing, PushAudio, PushText, Report
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.events import AudioOutput, ResponseCompleted

Parts = tuple[antiphon.SpeechTokenizer, antiphon.LanguageModel, antiphon.SpeechDecoder]


@cache
def tiny_parts() -> Parts:
    """The three models of the tiny checkpoint."""
    folder = tiny_checkpoint()
    return (
        antiphon.SpeechTokenizer.load(folder / TOKENIZER_FOLDER),
        antiphon.LanguageModel.load(folder / LANGUAGE_MODEL_FOLDER),
        antiphon.SpeechDecoder.load(folder / DECODER_FOLDER),
    )


class Bench:
    """A loop, its clock, and everything it reported. Audio of `readers` counts as read at once."""

    def __init__(self, parts: Parts, config: antiphon.EngineConfig | None = None) -> None:
        self.clock = VirtualClock()
        self.reports: list[Report] = []
        self.readers: set[str] = set()
        self.loop = EngineLoop(*parts, config or antiphon.EngineConfig(), self.clock, self.receive)

    def receive(self, report: Report) -> None:
        self.reports.append(report)
        if isinstance(report, Outgoing) and isinstance(report.event, AudioOutput) and report.dialogue in self.readers:
            self.loop.submit(AudioRead(report.dialogue, report.event.samples.size))

    def open(
        self, name: str, max_new_tokens: int = 60, temperature: float = 0.2, history: Sequence[HistoryItem] = ()
    ) -> None:
        sampling = antiphon.SamplingParams(max_new_tokens=max_new_tokens, temperature=temperature, seed=0)
        self.loop.submit(OpenDialogue(name, antiphon.SessionConfig(sampling=sampling, history=history)))

    def ask(self, name: str, max_new_tokens: int = 60) -> None:
        self.open(name, max_new_tokens)
        self.write(name, f"this is {name}")

    def write(self, name: str, text: str, turn: int = 0) -> None:
        """A turn in writing."""
        self.loop.submit(PushText(name, text))
        self.loop.submit(Commit(name, f"{name}.{turn}"))

    def answer(self, name: str, text: str, turn: int = 0) -> ResponseCompleted:
        """The answer to a turn in writing, once it is over."""
        self.write(name, text, turn)
        self.run()
        last = self.events(name, ResponseCompleted)[-1]
        assert isinstance(last, ResponseCompleted) and last.response_id == f"{name}.{turn}"
        return last

    def say(self, name: str, pieces: Sequence[np.ndarray], rate: int = 16_000) -> None:
        """Speak piece after piece; the loop does all it can do between two."""
        for piece in pieces:
            self.loop.submit(PushAudio(name, piece, rate))
            self.run()

    def run(self) -> None:
        while self.loop.step():
            pass

    def until(self, condition: Callable[[], object]) -> None:
        """Step until `condition` holds, which it has to before there is nothing left to do."""
        while not condition():
            assert self.loop.step(), "nothing is left to do"

    def dialogue(self, name: str) -> Dialogue:
        return self.loop._dialogues[name]

    def events(self, name: str, kind: type) -> list:  # type: ignore[type-arg]
        outgoing = [report.event for report in self.reports if isinstance(report, Outgoing) and report.dialogue == name]
        return [event for event in outgoing if isinstance(event, kind)]
