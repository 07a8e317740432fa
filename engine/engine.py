"""The embedded engine: the loop in a thread of this process, and sessions on the caller's asyncio loop."""

import asyncio
import logging
import threading
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import torch

from antiphon.engine.clips import Clip
from antiphon.engine.clock import Clock, MonotonicClock
from antiphon.engine.config import EngineConfig
from antiphon.engine.device import one_thread
from antiphon.engine.entrance import Entrance
from antiphon.engine.errors import CheckpointError, EngineFullError, SessionClosedError
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.host_memory import bound_primitive_cache, give_back
from antiphon.engine.loop import EngineLoop
from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.members import LoopStats
from antiphon.engine.messages import (
    ClipEncoded,
    ClipFailed,
    ClipReport,
    ClipSpoken,
    Command,
    DialogueReport,
    OpenDialogue,
    Report,
)
from antiphon.engine.model_ids import codec_id, vocabulary_id
from antiphon.engine.session import Session
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.warm_up import one_turn
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from antiphon.engine.weights.manifest import check_manifest
from antiphon.scheduler.admission import Occupancy

IDLE_SECONDS: Final = 30.0  # without anything to do, after which memory that holds nothing is handed back
_LOOK_SECONDS: Final = 0.25  # between two looks at whether the loop still runs

_log = logging.getLogger(__name__)


class DialogueReceiver(Protocol):
    """Is told what becomes of a dialogue, from the engine's thread: it must return at once."""

    def deliver(self, report: DialogueReport) -> None: ...
    def fail(self, why: str) -> None:
        """The engine can serve no more; also from other threads."""


class ClipReceiver(Protocol):
    """As `DialogueReceiver`, of a clip."""

    def deliver(self, report: ClipReport) -> None: ...
    def fail(self, why: str) -> None: ...


class Engine(Entrance):
    """One model on one device, serving many sessions at once.

    Its thread starts with the first session and ends at `close()`; `with Engine.load(...) as engine` closes it.
    """

    comes_back: Final = False  # once it is lost, no other takes its place

    def __init__(
        self,
        tokenizer: SpeechTokenizer,
        lm: LanguageModel,
        decoder: SpeechDecoder,
        config: EngineConfig | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Raises TextFilesMissingError without the LM's text files, CheckpointError when the parts disagree."""
        super().__init__(lm, config or EngineConfig())
        self.tokenizer, self.decoder = tokenizer, decoder
        check_parts(tokenizer, lm, decoder)
        self._clock = clock or MonotonicClock()
        self._loop = EngineLoop(tokenizer, lm, decoder, self.config, self._clock, self._report)
        self._dialogues: dict[str, DialogueReceiver] = {}
        self._clips: dict[str, ClipReceiver] = {}
        self._lock = threading.Lock()  # guards _dialogues, _clips, _thread and _fault
        self._step_began: float | None = None  # by the clock; None: the loop waits for work
        self._work = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._fault: str | None = None

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "float32",
        config: EngineConfig | None = None,
    ) -> Self:
        """Load a folder that holds the three official ones. Raises as the three `load`s do, and CheckpointError where
        the folder has a manifest and a file differs from it.

        Loads with one thread; an engine that computes for the first time meanwhile, in this process, keeps to one.
        """
        folder = Path(folder)
        check_manifest(folder)
        bound_primitive_cache()
        with one_thread():  # the engine's thread computes, not this one
            return cls(
                SpeechTokenizer.load(folder / TOKENIZER_FOLDER, device, dtype),
                LanguageModel.load(folder / LANGUAGE_MODEL_FOLDER, device, dtype),
                SpeechDecoder.load(folder / DECODER_FOLDER, device, dtype),
                config,
            )

    @property
    def stats(self) -> LoopStats:
        """What the engine holds and has run; exact while it is idle."""
        return self._loop.stats

    @property
    def seconds(self) -> LoopSeconds:
        """What the loop's time had gone to by the end of its last step."""
        return self._loop.seconds

    @property
    def occupancy(self) -> Occupancy:
        """How full the engine is."""
        return Occupancy(len(self._dialogues), self._loop.load_of_one, len(self._clips), self.config.max_dialogues)

    @property
    def occupancies(self) -> tuple[Occupancy]:
        """As a server wants it, which may have several engines."""
        return (self.occupancy,)

    @property
    def fault(self) -> str | None:
        """Why the engine can serve no more; None while it can."""
        return self._fault

    @property
    def seconds_in_step(self) -> float | None:
        """How long the loop has been in its present step, as it noted itself; None: it waits for work."""
        began = self._step_began
        return None if began is None else self._clock.now() - began

    @cached_property
    def codec_id(self) -> str:
        """What the speech tokenizer's codes are called."""
        return codec_id(self.tokenizer)

    @cached_property
    def vocabulary_id(self) -> str:
        """What the language model's ids are called."""
        return vocabulary_id(self.lm.vocabulary)

    async def warm_up(self) -> None:
        """One short turn through all stages. Raises AntiphonError when it is not answered."""
        await one_turn(self)

    async def wait_until_lost(self) -> None:
        """Return once the engine can serve no more."""
        while self._fault is None:
            await asyncio.sleep(_LOOK_SECONDS)

    # For the sessions and clips, and for whoever stands for those of another process

    async def open(self, session: Session, command: OpenDialogue) -> None:
        """A session is being entered. Raises EngineFullError, SessionClosedError."""
        self.admit(command, session)

    def open_clip(self, clip: Clip) -> None:
        """A clip is being entered. Raises SessionClosedError."""
        self.admit_clip(clip.name, clip)

    def admit(self, command: OpenDialogue, receiver: DialogueReceiver) -> None:
        """Open a dialogue, of which `receiver` is told. Raises EngineFullError, SessionClosedError."""
        with self._lock:
            if self._fault is not None:
                raise SessionClosedError(self._fault)
            if len(self._dialogues) >= self.config.max_dialogues:
                raise EngineFullError(
                    f"{len(self._dialogues)} dialogues are open; the limit is {self.config.max_dialogues}. "
                    "Try again later."
                )
            self._dialogues[command.dialogue] = receiver
            self._start()
        self.submit(command)

    def admit_clip(self, name: str, receiver: ClipReceiver) -> None:
        """`receiver` is told of a clip. Raises SessionClosedError."""
        with self._lock:
            if self._fault is not None:
                raise SessionClosedError(self._fault)
            self._clips[name] = receiver
            self._start()

    def submit(self, command: Command) -> None:
        """Hand a command to the loop."""
        self._loop.submit(command)
        self._work.set()

    def forget(self, session_id: str) -> None:
        """A dialogue was closed: its receiver is told nothing more."""
        with self._lock:
            self._dialogues.pop(session_id, None)

    def forget_clip(self, name: str) -> None:
        """A clip was left: it receives nothing more."""
        with self._lock:
            self._clips.pop(name, None)

    def close(self) -> None:
        """End all sessions and the engine's thread. Closing twice does nothing."""
        self._closing = True
        self._work.set()
        if self._thread is not None:
            self._thread.join()
        self._stop("the engine was closed.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._work.clear()
                while not self._closing and self._step():
                    pass
                self._rest()
        except BaseException as error:
            _log.critical("the engine's loop died", exc_info=error)
            self._stop(f"the engine's loop died of {type(error).__name__}: load the engine again.")
            raise

    def _rest(self) -> None:
        """Wait for work."""
        pause = self._loop.next_pause
        if self._work.wait(IDLE_SECONDS if pause is None else pause) or pause is not None:
            return
        give_back()
        self._work.wait()

    def _step(self) -> bool:
        self._step_began = self._clock.now()
        try:
            return self._loop.step()
        finally:
            self._step_began = None

    def _start(self) -> None:
        """Start the loop's thread, if it does not run yet. With the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="antiphon-engine", daemon=True)
            self._thread.start()

    def _report(self, report: Report) -> None:
        if isinstance(report, ClipEncoded | ClipSpoken | ClipFailed):
            clip = self._clips.get(report.clip)
            if clip is not None:
                clip.deliver(report)
            return
        dialogue = self._dialogues.get(report.dialogue)
        if dialogue is not None:
            dialogue.deliver(report)

    def _stop(self, why: str) -> None:
        with self._lock:
            self._fault = self._fault or why
            dialogues = list(self._dialogues.values())
            clips = list(self._clips.values())
            self._dialogues.clear()
            self._clips.clear()
        for dialogue in dialogues:
            dialogue.fail(why)
        for clip in clips:
            clip.fail(why)


def check_parts(tokenizer: SpeechTokenizer, lm: LanguageModel, decoder: SpeechDecoder) -> None:
    """Raise CheckpointError unless the three speak of the same speech tokens."""
    codes = (tokenizer.config.codebook_size, lm.vocabulary.n_codes, decoder.flow.config.vocab_size)
    if len(set(codes)) > 1:
        raise CheckpointError(
            f"the tokenizer has {codes[0]} codes, the language model {codes[1]} speech ids, the decoder {codes[2]}; "
            "expected one number. Are the three folders of one model?"
        )
