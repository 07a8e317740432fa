"""The engine loop: take in → plan → run → hand out, for every dialogue of one device.

Work of one kind is one packed forward, whoever it belongs to; the scheduler plans its rows. On a GPU speech has a lane
of its own, which the loop waits for only where there is nothing to hear or to think. Nothing here waits for a caller:
inputs arrive as messages, events leave through `report`, and a dialogue whose caller reads too slowly is passed over
until it has caught up.
"""

import logging
import queue
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any, Final

import numpy as np

from antiphon.engine.budgets import planner_settings
from antiphon.engine.clips import Clips
from antiphon.engine.clock import Clock
from antiphon.engine.config import EngineConfig
from antiphon.engine.dialogue import Dialogue
from antiphon.engine.errors import AntiphonError
from antiphon.engine.events import AudioOutput, Event
from antiphon.engine.forwards import Forwards
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.lanes import new_lane
from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.members import LoopStats, Member, hearing, thinking
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
from antiphon.engine.meter import Meter, squared_share
from antiphon.engine.shared_prompts import SharedPrompts
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.pace import ChunkSpeed
from antiphon.engine.speech_work import SpeechWork
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.runner import LMRunner
from antiphon.engine.timeline import WaveSample
from antiphon.engine.turn import Phase, Turn
from antiphon.engine.units import OUTPUT_RATE
from antiphon.scheduler._core import Plan
from antiphon.scheduler.settings import pages_for

_log = logging.getLogger(__name__)
_INPUTS: Final = (PushAudio, PushText, CallerPaused, ClearInput, Commit, Cancel, Played)  # InputTaken counts them


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
        self._numbers: dict[int, Dialogue] = {}  # the same ones, as the scheduler knows them
        self._opened = 0
        self._wake = inf  # the clock when the first who pauses goes on by itself
        self._batches = {"hear": 0, "lm": 0}
        self._seconds = LoopSeconds()
        self._clips = Clips(tokenizer, decoder, config, report)
        self._runner = LMRunner(lm.model, planner_settings(config, lm.config.context))
        self._scheduler = self._runner.scheduler
        self._thinking_lane, self._speaking_lane = (new_lane(decoder.device, clock) for _ in range(2))
        self._hearing, self._thinking = (Forwards(self._thinking_lane, self._fail) for _ in range(2))
        page_size, context = config.page_size, lm.config.context
        self._prompts = SharedPrompts(self._scheduler, page_size, least_pages=pages_for(context, page_size))
        self._chunk_speed = ChunkSpeed()
        self._meter = Meter(squared_share(decoder.flow.estimator))
        self._speech = SpeechWork(
            decoder,
            self._speaking_lane,
            self._numbers,
            self._scheduler,
            self._runner.buffers,
            self._meter,
            plan=partial(self._plan, speech=True),
            advance=self._advance,
            fail=self._fail,
            clock=clock.now,
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
            total_pages=self._scheduler.n_pages,
            free_pages=self._scheduler.free_pages,
            hear_batches=self._batches["hear"],
            lm_batches=self._batches["lm"],
            speak_batches=self._speech.batches,
            seconds=self.seconds,
        )

    @property
    def seconds(self) -> LoopSeconds:
        """What the time went to by the end of the last step; may be asked from any thread."""
        return self._seconds

    @property
    def load_of_one(self) -> float:
        """Seconds of this loop that a second of one dialogue takes, as measured lately; 0: not known yet."""
        return self._meter.load

    @property
    def next_pause(self) -> float | None:
        """Seconds until `step` has work without a command: a caller who sends nothing counts as pausing, or an answer
        that waited for its playback goes on."""
        due = [dialogue.pause_due for dialogue in self._dialogues.values() if dialogue.pause_due is not None]
        first = min([self._wake, *due])
        return None if first == inf else max(0.0, first - self._clock.now())

    def step(self) -> bool:
        """One round. Returns whether anything was done; if not, nothing will be until the next command or pause."""
        begun = self._clock.now()
        with self._thinking_lane.entered():
            took = self._take_in()
            heard = self._hear()
            thought = self._think()
        with self._speaking_lane.entered():
            self._speaking_lane.follow(self._thinking_lane)  # a stream is opened where its turn begins
            spoke = self._speech.step(wait=not (took or heard or thought))
            clips_begun = self._clock.now()
            clipped = self._clips.step()
        ended = self._clock.now()
        self._seconds = LoopSeconds(  # whole, so that no reader meets the work of a step without its time
            hear=self._hearing.seconds,
            think=self._thinking.seconds,
            solve=self._speech.solve_seconds,
            vocode=self._speech.vocode_seconds,
            clips=self._seconds.clips + (ended - clips_begun if clipped else 0.0),
            steps=self._seconds.steps + ended - begun,
        )
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
        config = command.config.completed(self._config)
        start = self._prompts.join(self._opened, config.tenant, config.instructions)
        dialogue = Dialogue(
            command.dialogue,
            config,
            self._tokenizer,
            self._lm,
            self._decoder,
            self._scheduler,
            self._runner.new_sequence(self._opened, self._clock.now(), start),
            self._chunk_speed,
        )
        self._dialogues[dialogue.name] = self._numbers[dialogue.number] = dialogue

    def _drop(self, name: str, fault: str | None = None) -> None:
        """End a dialogue and free what it holds, whatever state it is in."""
        dialogue = self._dialogues.pop(name, None)
        if dialogue is not None:
            del self._numbers[dialogue.number]
            self._speech.drop(dialogue.number)
            dialogue.close()
            self._prompts.leave(dialogue.number)
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
                dialogue.clear_input(self._clock.now())
            case Commit():
                dialogue.commit(command.response_id, self._clock.now())
            case Cancel():
                heard = None if command.heard_samples is None else WaveSample(command.heard_samples)
                for turn in dialogue.under_way(command.response_id, command.queued):
                    self._hand_out(dialogue, turn, turn.cancel(heard, command.reason, self._clock.now()))
            case Played():
                for turn in dialogue.under_way(command.response_id, queued=False):
                    self._hand_out(dialogue, turn, turn.played(self._clock.now()))
            case AudioRead():
                self._scheduler.read(dialogue.number, command.samples / OUTPUT_RATE)
            case CloseDialogue():
                self._drop(dialogue.name)

    # Run

    def _plan(self, lm: bool = False, speech: bool = False, hear: bool = False) -> Plan:
        """The next forward of one part."""
        self._scheduler.set_costs(self._meter.costs)
        plan = self._scheduler.plan(self._clock.now(), lm=lm, speech=speech, hear=hear)
        self._wake = plan.wake
        for number in self._runner.buffers.dropped[: plan.dropped].tolist():
            self._numbers[number].kv_was_dropped()
        return plan

    def _hear(self) -> bool:
        """Encode what is planned of the audio that waits, and begin the answers that waited for theirs."""
        now = self._clock.now()
        dialogues = list(self._dialogues.values())
        for dialogue in dialogues:
            if dialogue.pause_due is not None and now >= dialogue.pause_due:
                dialogue.caller_paused()
            dialogue.settle_hearing(now)
        plan = self._plan(hear=True)
        if plan.encodes:
            self._encode(plan)
        for dialogue in dialogues:
            while dialogue.can_begin:
                self._advance(Member(dialogue, dialogue.turns[0], None), dialogue.begin_next)
            dialogue.listen_ahead(now)
        return plan.encodes > 0

    def _encode(self, plan: Plan) -> None:
        """The planned pass of the encoder."""
        numbers = self._runner.buffers.encodes[: plan.encodes].tolist()
        members = [Member(dialogue, *dialogue.hearing) for dialogue in map(self._numbers.__getitem__, numbers)]
        self._batches["hear"] += 1
        heard, seconds = self._hearing.run(hearing, members, self._tokenizer.run)
        self._meter.encode(sum(member.request.span.frames for member in members), seconds)
        places = [numbers.index(member.dialogue.number) for member, _ in heard]
        self._scheduler.encodes_done(np.array(places, np.int32))
        for member, result in heard:
            self._advance(member, partial(member.turn.heard, member.request, result))

    def _think(self) -> bool:
        plan = self._plan(lm=True)
        planned = [self._numbers[number] for number in self._runner.buffers.lm_dialogues[: plan.lm_rows].tolist()]
        if not planned:
            return False
        rows = [Member(dialogue, dialogue.turns[0], dialogue.row(place)) for place, dialogue in enumerate(planned)]
        ends = self._runner.buffers.lm_ends[: plan.lm_rows]
        decodes = int(ends[np.diff(self._runner.buffers.cu_seqlens[: plan.lm_rows + 1]) == 1].sum())
        self._batches["lm"] += 1
        sampled, seconds = self._thinking.run(thinking, rows, self._runner.step)
        self._meter.lm(decodes, plan.lm_tokens - decodes, seconds)
        for member, token in sampled:
            self._prompts.offer(member.dialogue)
            if token is not None:
                self._advance(member, partial(member.turn.sampled, token, self._clock.now()))
        return True

    def _advance(self, member: Member[Any], take: Callable[[], Sequence[Event]]) -> None:
        """Let a turn take its next input and hand out what comes of it. Whatever it raises ends this turn alone."""
        if member.turn not in member.dialogue.turns:  # it ended in the same round
            return
        try:
            self._hand_out(member.dialogue, member.turn, take())
            member.dialogue.settle()
        except Exception as error:
            self._fail(member.dialogue, member.turn, error)

    # Hand out

    def _hand_out(self, dialogue: Dialogue, turn: Turn, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, AudioOutput):
                self._scheduler.sent(dialogue.number, event.samples.size / OUTPUT_RATE, self._clock.now())
            self._report(Outgoing(dialogue.name, event))
        if turn.phase is Phase.DONE:
            if turn is dialogue.answering:
                self._speech.drop(dialogue.number)
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
