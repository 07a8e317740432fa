"""The engine loop: take in → plan → run → hand out, for every dialogue of one device.

Work of one kind is one packed forward, whoever it belongs to. Nothing here waits for a caller: inputs arrive as
messages, events leave through `report`, and a dialogue whose caller reads too slowly is passed over until it has
caught up.
"""

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, TypeVar

from antiphon.engine.clips import Clips
from antiphon.engine.clock import Clock
from antiphon.engine.config import EngineConfig
from antiphon.engine.dialogue import Dialogue
from antiphon.engine.errors import AntiphonError
from antiphon.engine.events import AudioOutput, Event
from antiphon.engine.hear.requests import EncodeRequest, EncodeResult
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.lm_plan import plan_forward
from antiphon.engine.messages import (
    AudioRead,
    CallerPaused,
    Cancel,
    ClearInput,
    CloseDialogue,
    Command,
    Commit,
    DialogueCommand,
    DialogueEnded,
    DropClip,
    EncodeClip,
    InputTaken,
    OpenDialogue,
    Outgoing,
    Played,
    PushAudio,
    PushText,
    Report,
    SpeakClip,
)
from antiphon.engine.speak.chunks import ChunkJob, Solving
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.stopwatch import Stage
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.runner import LMRunner
from antiphon.engine.timeline import WaveSample
from antiphon.engine.turn import Phase, Turn
from antiphon.engine.units import OUTPUT_RATE
from antiphon.scheduler.planning import pages_for

_log = logging.getLogger(__name__)
_INPUTS: Final = (PushAudio, PushText, CallerPaused, ClearInput, Commit, Cancel, Played)  # InputTaken counts them
Request = TypeVar("Request")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Member(Generic[Request]):
    """One turn's part in a packed forward."""

    dialogue: Dialogue
    turn: Turn
    request: Request


@dataclass(frozen=True)
class LoopStats:
    """What the loop holds, and the packed forwards of each kind since its start."""

    dialogues: int
    turns: int  # listening, queued or being answered
    clips: int  # apart from any dialogue
    total_pages: int
    free_pages: int
    hear_batches: int
    lm_batches: int
    speak_batches: int  # Euler steps of the flow


class EngineLoop:
    """Owns the models and every dialogue's state. One thread calls `step`; any thread may call `submit`."""

    def __init__(
        self,
        tokenizer: SpeechTokenizer,
        lm: LanguageModel,
        decoder: SpeechDecoder,
        config: EngineConfig,
        clock: Clock,
        report: Callable[[Report], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._lm = lm
        self._decoder = decoder
        self._config = config
        self._clock = clock
        self._report = report
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._dialogues: dict[str, Dialogue] = {}
        self._opened = 0
        self._arrivals = 0
        self._batches = {"hear": 0, "lm": 0, "speak": 0}
        self._solves: list[Member[Solving]] = []  # between two Euler steps
        self._clips = Clips(tokenizer, decoder, config, report)
        self._runner = LMRunner(
            lm.model, pages_for(config.kv_tokens, config.page_size), config.page_size, config.batch_tokens
        )

    def submit(self, command: Command) -> None:
        """Hand a command to the loop. Commands of one dialogue are taken in order."""
        self._inbox.put(command)

    @property
    def stats(self) -> LoopStats:
        """What the loop holds and what it has run; exact between two steps."""
        dialogues = list(self._dialogues.values())
        return LoopStats(
            dialogues=len(dialogues),
            turns=sum(len(dialogue.turns) for dialogue in dialogues),
            clips=len(self._clips),
            total_pages=self._runner.pool.n_pages,
            free_pages=self._runner.pool.free_pages,
            hear_batches=self._batches["hear"],
            lm_batches=self._batches["lm"],
            speak_batches=self._batches["speak"],
        )

    @property
    def next_pause(self) -> float | None:
        """Seconds until a caller who sends nothing counts as pausing, and `step` has work without a command."""
        due = [dialogue.pause_due for dialogue in self._dialogues.values() if dialogue.pause_due is not None]
        return max(0.0, min(due) - self._clock.now()) if due else None

    def step(self) -> bool:
        """One round. Returns whether anything was done; if not, nothing will be until the next command or pause."""
        took = self._take_in()
        heard = self._hear()
        thought = self._think()
        spoke = self._speak()
        clipped = self._clips.step()
        return took or heard or thought or spoke or clipped

    # Take in

    def _take_in(self) -> bool:
        taken: dict[str, int] = {}
        took = False
        while not self._inbox.empty():
            command = self._inbox.get()
            took = True
            if isinstance(command, EncodeClip | SpeakClip | DropClip):
                self._clips.take(command)
                continue
            if isinstance(command, _INPUTS):
                taken[command.dialogue] = taken.get(command.dialogue, 0) + 1
            self._take(command)
        for dialogue, count in taken.items():
            self._report(InputTaken(dialogue, count))
        return took

    def _take(self, command: DialogueCommand) -> None:
        dialogue = self._dialogues.get(command.dialogue)
        if isinstance(command, OpenDialogue) == (dialogue is not None):
            return  # closed with this still on its way; or a name that is taken, which sessions never send
        try:
            if isinstance(command, OpenDialogue):
                self._open(command)
            elif dialogue is not None:
                self._apply(command, dialogue)
        except Exception as error:  # sessions check what they send; what still cannot be used ends its dialogue alone
            _log.error("dialogue %s: %s was refused", command.dialogue, type(command).__name__, exc_info=error)
            self._drop(command.dialogue, f"the engine refused {type(command).__name__}: {error}")

    def _open(self, command: OpenDialogue) -> None:
        self._opened += 1
        self._dialogues[command.dialogue] = Dialogue(
            command.dialogue,
            self._opened,
            command.config.completed(self._config),
            self._tokenizer,
            self._lm,
            self._decoder,
            self._runner.new_sequence(),
        )

    def _drop(self, name: str, fault: str | None = None) -> None:
        """End a dialogue and free what it holds, whatever state it is in."""
        dialogue = self._dialogues.pop(name, None)
        if dialogue is not None:
            dialogue.close()
        self._report(DialogueEnded(name, fault))

    def _apply(self, command: DialogueCommand, dialogue: Dialogue) -> None:
        match command:
            case PushAudio():
                dialogue.listen(command.samples, command.rate, self._clock.now())
            case PushText():
                dialogue.read(command.text)
            case CallerPaused():
                dialogue.caller_paused()
            case ClearInput():
                dialogue.clear_input()
            case Commit():
                self._arrivals += 1
                dialogue.commit(command.response_id, self._arrivals, self._clock.now())
            case Cancel():
                heard = None if command.heard_samples is None else WaveSample(command.heard_samples)
                for turn in dialogue.under_way(command.response_id, command.queued):
                    self._hand_out(dialogue, turn, turn.cancel(heard, command.reason, self._clock.now()))
            case Played():
                for turn in dialogue.under_way(command.response_id, queued=False):
                    self._hand_out(dialogue, turn, turn.played(self._clock.now()))
            case AudioRead():
                dialogue.unread_samples -= command.samples
            case CloseDialogue():
                self._drop(dialogue.name)

    # Run

    def _hear(self) -> bool:
        """Encode for committed turns first; where none waits, ahead of commits; where nobody does, guess at pauses."""
        now = self._clock.now()
        dialogues = list(self._dialogues.values())
        for dialogue in dialogues:
            if dialogue.pause_due is not None and now >= dialogue.pause_due:
                dialogue.caller_paused()
        turns = [(dialogue, turn) for dialogue in dialogues for turn in dialogue.turns]
        asked = [Member(dialogue, turn, request) for dialogue, turn in turns for request in turn.encode_requests]
        committed = [member for member in asked if member.turn.phase is Phase.ENCODING]
        for member, result in self._encode(committed or asked):
            self._advance(member, partial(member.turn.encoded, result))
        guesses = [
            Member(dialogue, turn, request)
            for dialogue, turn in turns
            if not asked and (request := turn.guess_request) is not None
        ]
        for member, result in self._encode(guesses):
            self._advance(member, partial(member.turn.guessed, member.request, result))
        positions = self._runner.pool.n_pages * self._config.page_size
        for dialogue in dialogues:
            while dialogue.can_begin:
                self._advance(Member(dialogue, dialogue.turns[0], None), partial(dialogue.begin_next, positions))
            dialogue.listen_ahead()
        return bool(asked or guesses)

    def _encode(self, members: Sequence[Member[EncodeRequest]]) -> list[tuple[Member[EncodeRequest], EncodeResult]]:
        if not members:
            return []
        self._batches["hear"] += 1
        return self._run(lambda _: Stage.HEAR, members, self._tokenizer.run)

    def _think(self) -> bool:
        answering = {
            dialogue.number: dialogue
            for dialogue in sorted(self._dialogues.values(), key=lambda dialogue: dialogue.arrival)
            if dialogue.wants_lm and dialogue.unread_samples <= self._config.max_unread_seconds * OUTPUT_RATE
        }
        others = {
            dialogue.number: dialogue for dialogue in self._dialogues.values() if dialogue.number not in answering
        }
        rows = []
        for planned in plan_forward(answering, others, self._runner.pool, self._config):
            if planned.dialogue in answering:
                dialogue = answering[planned.dialogue]
                turn, answer = dialogue.running
                rows.append(Member(dialogue, turn, answer.row(planned.n_tokens)))
            else:
                dialogue = others[planned.dialogue]
                rows.append(Member(dialogue, dialogue.turns[0], dialogue.ahead_row(planned.n_tokens)))
        if not rows:
            return False
        self._batches["lm"] += 1
        for member, token in self._run(_lm_stage, rows, self._runner.step):
            if token is not None:
                self._advance(member, partial(member.turn.sampled, token, self._clock.now()))
        return True

    def _speak(self) -> bool:
        """One Euler step of the solves that are due first. A whole solve at once would stop the LM for everyone."""
        self._solves = [member for member in self._solves if member.turn in member.dialogue.turns]
        begun = self._run(_speaking, self._chunks_due(), self._decoder.begin)
        self._solves += [Member(member.dialogue, member.turn, solving) for member, solving in begun]
        if not self._solves:
            return False
        self._batches["speak"] += 1
        chosen, self._solves = self._first_due()
        steps = self._run(_speaking, chosen, self._decoder.advance)
        advanced = [replace(member, request=solving) for member, solving in steps]
        self._solves += [member for member in advanced if not member.request.is_done]
        done = [member for member in advanced if member.request.is_done]
        if done:
            for member, result in self._run(_speaking, done, self._decoder.finish):
                self._advance(member, partial(member.turn.spoken, result, self._clock.now()))
        return True

    def _chunks_due(self) -> list[Member[ChunkJob]]:
        """Chunks whose solve has not begun."""
        solving = {id(member.turn) for member in self._solves}
        return [
            Member(dialogue, turn, job)
            for dialogue in self._dialogues.values()
            if (turn := dialogue.answering) is not None
            and id(turn) not in solving
            and turn.answer is not None
            and (job := turn.answer.chunk_job) is not None
        ]

    def _first_due(self) -> tuple[list[Member[Solving]], list[Member[Solving]]]:
        """The solves of the next Euler step, earliest deadline first within the budget of mel frames; and the others.

        The first always has its step, however long it is.
        """
        chosen: list[Member[Solving]] = []
        waiting: list[Member[Solving]] = []
        frames = 0
        for member in sorted(self._solves, key=lambda member: member.turn.audio_due):
            frames += member.request.frames
            (chosen if not chosen or frames <= self._config.solve_frames else waiting).append(member)
        return chosen, waiting

    def _run(
        self,
        stage: Callable[[Turn], Stage],
        members: Sequence[Member[Request]],
        forward: Callable[[Sequence[Request]], Sequence[Result]],
    ) -> list[tuple[Member[Request], Result]]:
        """One packed forward of what `members` ask for, each with its result.

        Where the batch raises, each member is run by itself, so that only the turn whose own request raises is lost.
        """
        begun = self._clock.now()
        stages = [stage(member.turn) for member in members]
        try:
            results = list(zip(members, forward([member.request for member in members]), strict=True))
        except Exception as error:  # whatever a stage raises, it must not end the other callers' dialogues
            if len(members) > 1:
                return [one for member in members for one in self._run(stage, [member], forward)]
            for member in members:
                self._fail(member.dialogue, member.turn, error)
            return []
        seconds = self._clock.now() - begun
        for member, kind in zip(members, stages, strict=True):
            member.turn.spent(kind, seconds)
        return results

    def _advance(self, member: Member[Any], take: Callable[[], Sequence[Event]]) -> None:
        """Let a turn take its next input and hand out what comes of it. Whatever it raises ends this turn alone."""
        if member.turn not in member.dialogue.turns:  # it ended in the same round
            return
        try:
            self._hand_out(member.dialogue, member.turn, take())
        except Exception as error:
            self._fail(member.dialogue, member.turn, error)

    # Hand out

    def _hand_out(self, dialogue: Dialogue, turn: Turn, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, AudioOutput):
                dialogue.unread_samples += event.samples.size
            self._report(Outgoing(dialogue.name, event))
        if turn.phase is Phase.DONE:
            dialogue.retire(turn, self._clock.now())

    def _fail(self, dialogue: Dialogue, turn: Turn, error: Exception) -> None:
        """End a turn with an error; where nobody has committed it, or it cannot even end, its dialogue."""
        if turn not in dialogue.turns:
            return
        if not isinstance(error, AntiphonError):
            _log.error("dialogue %s: turn %d failed", dialogue.name, turn.index, exc_info=error)
        if turn.response_id is None:
            self._drop(dialogue.name, f"the turn that was being heard failed with {type(error).__name__}: {error}")
            return
        try:
            dialogue.undo(turn)
            self._hand_out(dialogue, turn, turn.fail(error, self._clock.now()))
        except Exception as fault:
            _log.error("dialogue %s: turn %d could not be ended", dialogue.name, turn.index, exc_info=fault)
            self._drop(dialogue.name, f"a turn failed with {type(error).__name__}: {error}")


def _lm_stage(turn: Turn) -> Stage:
    return Stage.PREFILL if turn.phase in (Phase.LISTENING, Phase.PREFILL) else Stage.DECODE


def _speaking(_: Turn) -> Stage:
    return Stage.SPEAK
