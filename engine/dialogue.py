"""One dialogue's state inside the engine: its LM sequence, and its turns in order."""

from collections import deque
from dataclasses import replace
from itertools import chain
from typing import Final

from antiphon.engine.answer import Answer, Limits
from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import AntiphonError, ContextOverflowError
from antiphon.engine.events import Event, TurnsForgotten
from antiphon.engine.hear.listener import Listener
from antiphon.engine.hear.requests import EncodeRequest
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.history import HistoryItem
from antiphon.engine.speak.chunks import ChunkJob
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.pace import ChunkSpeed
from antiphon.engine.think.dialogue_prompt import Past, dialogue_past, user_turn
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.prompt import speech_turn_so_far
from antiphon.engine.think.runner import Row
from antiphon.engine.think.sampling import SEED_LIMIT
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.turn import Phase, Turn, Unheard
from antiphon.engine.types import Float32Array
from antiphon.scheduler._core import Scheduler
from antiphon.scheduler.capacity import turns_to_drop
from antiphon.scheduler.hearing import Hearing

_ANSWER_PART: Final = 4  # an answer has this part of the context, if it wants so much: for it, old turns are forgotten
_NOTHING: Final = Past([], [])


class Dialogue:
    """Known to the loop by its name. The first of `turns` may be answering, the last may still be listening.

    While nothing is being answered, what is heard of the next turn is put into the sequence ahead of its commit: its
    first `_past` ids are those of the turns that are over, and what follows is rewritten as the tokenizer's ids change.
    """

    def __init__(
        self,
        name: str,
        config: SessionConfig,
        tokenizer: SpeechTokenizer,
        lm: LanguageModel,
        decoder: SpeechDecoder,
        scheduler: Scheduler,
        sequence: LMSequence,
        speed: ChunkSpeed,  # of all dialogues
    ) -> None:
        self.name = name
        self.number = sequence.number  # the scheduler knows it by this alone
        self.config = config
        self._sampling = config.sampling.seeded()
        self.sequence = sequence  # all ids of the past, then of the prompt and the answer under way
        self.turns: deque[Turn] = deque()
        self._tokenizer = tokenizer
        self._lm = lm
        self._decoder = decoder
        self._scheduler = scheduler
        self._speed = speed
        self._lm_ended = False  # of the answer under way, as the scheduler knows
        self._chunk: ChunkJob | None = None  # of it, the one that the scheduler knows of
        self._hearing: tuple[Turn, Unheard] | None = None  # the audio that the scheduler knows of
        self._n_turns = 0
        self._past = 0  # ids of the turns that are over, with the system prompt before them
        self._has_past = False  # whether any turn has ended with an answer
        self._system = 0  # ids of the system prompt; 0 until the first turn begins
        self._turn_lengths: list[int] = []  # ids of each turn that is over and not forgotten, oldest first
        self._cached = len(
            sequence.ids
        )  # of them, those whose KV has been there since the last one ended, or the start
        self._openings: dict[bool, Past] = {}  # what comes before the first turn, by whether that is text

    @property
    def system_length(self) -> int:
        """Ids of the system prompt, which the sequence begins with; 0 until a turn is answered."""
        return self._system

    @property
    def committed(self) -> list[Turn]:
        """The turns that wait for their answer or are being answered, in order."""
        return [turn for turn in self.turns if turn.phase is not Phase.LISTENING]

    def under_way(self, response_id: str | None, queued: bool) -> list[Turn]:
        """The first committed turn, if its answer has this id (None: any), and with `queued` those behind it."""
        committed = self.committed
        if not committed or response_id not in (None, committed[0].response_id):
            return []
        return committed if queued else committed[:1]

    @property
    def answering(self) -> Turn | None:
        """The turn whose answer is under way."""
        return self.turns[0] if self.turns and self.turns[0].answer is not None else None

    @property
    def running(self) -> tuple[Turn, Answer]:
        """The turn whose answer is under way, and the answer."""
        turn = self.answering
        assert turn is not None and turn.answer is not None, f"{self.name} has no answer under way"
        return turn, turn.answer

    # The caller's input

    def listen(self, samples: Float32Array, rate: int, now: float) -> None:
        """More audio of the turn that is not yet committed; the first begins it."""
        turn = self._open_turn
        if turn is None:
            turn = self._begin_turn(Turn(self._n_turns, Listener(self._tokenizer, rate), self.config.await_playback))
        turn.listen(samples, rate, now)

    def caller_paused(self) -> None:
        """The turn that is not yet committed may be over."""
        if self._open_turn is not None:
            self._open_turn.caller_paused()

    @property
    def pause_due(self) -> float | None:
        """When, by the clock, a caller who sends no more audio counts as pausing; None where nobody is awaited so."""
        return None if self._open_turn is None else self._open_turn.pause_due

    def read(self, text: str) -> None:
        """The next turn as text."""
        self._begin_turn(Turn(self._n_turns, text, self.config.await_playback))

    def clear_input(self, now: float) -> None:
        """Forget the turn that is not yet committed."""
        if self._open_turn is not None:
            self.turns.pop()
            self._n_turns -= 1
            if not self.turns:
                self.sequence.truncate(self._past)
                self._scheduler.finish(self.number, now)

    def commit(self, response_id: str, now: float) -> None:
        """The open turn is complete. The session commits no empty one."""
        turn = self._open_turn
        assert turn is not None, f"{self.name}: a commit without input reached the engine"
        turn.commit(response_id, now)

    # Hearing

    def settle_hearing(self, now: float) -> None:
        """Tell the scheduler which of the caller's audio waits now: of the turns in order, the first that has some.

        A committed turn has waited since its commit, other audio since the scheduler first knew of it.
        """
        waiting = next(((turn, unheard) for turn in self.turns if (unheard := turn.unheard) is not None), None)
        if waiting == self._hearing:
            return
        self._hearing = waiting
        if waiting is None:
            self._scheduler.encode(self.number, Hearing.GUESS, 0, now)
            return
        turn, unheard = waiting
        since = now if turn.stopwatch is None else turn.stopwatch.started
        self._scheduler.encode(self.number, unheard.kind, unheard.request.span.frames, since)

    @property
    def hearing(self) -> tuple[Turn, EncodeRequest]:
        """The audio that the scheduler knows of, after its turn."""
        assert self._hearing is not None, f"{self.name} has no audio that waits"
        turn, unheard = self._hearing
        return turn, unheard.request

    # Listening ahead

    @property
    def hears_next(self) -> bool:
        """Whether the next turn to be answered is being spoken: then the sequence is free for it."""
        return bool(self.turns) and self.turns[0].phase is Phase.LISTENING and isinstance(self.turns[0].input, Listener)

    def listen_ahead(self, now: float) -> None:
        """Put what is heard so far of the next turn into the sequence, where that is free for it."""
        if not self.hears_next or (codes := self.turns[0].take_heard()) is None:
            return
        self._scheduler.listen(self.number, now)
        try:
            opening = self._opening(is_text=False)
            before = [*opening.system, *chain.from_iterable(opening.turns)]
            self.sequence.rewrite(self._past, [*before, *speech_turn_so_far(self._lm.vocabulary, codes)])
        except AntiphonError:
            return  # too long, or instructions that are no prompt: the commit, if it comes, will tell the caller

    # Planning

    def row(self, place: int) -> Row:
        """Its share of a planned forward, where it stands at `place`."""
        if self.answering is None:
            return Row(self.sequence, place, self._sampling, step_index=0)
        return self.running[1].row(place)

    def kv_was_dropped(self) -> None:
        """The scheduler has given up KV of this dialogue."""
        self._cached = min(self._cached, self.sequence.computed)

    def settle(self) -> None:
        """Tell the scheduler what the answer under way waits for now."""
        if self.answering is None:
            return
        _, answer = self.running
        if not answer.wants_lm and not self._lm_ended:
            self._lm_ended = True
            self._scheduler.end(self.number)
        job = answer.chunk_job
        if job is not None and job is not self._chunk:
            self._scheduler.chunk(self.number, job.flow_frames, job.wave_frames)
        self._chunk = job

    # Answering

    @property
    def can_begin(self) -> bool:
        """Whether the first turn is committed, encoded, and not already under way."""
        return bool(self.turns) and self.turns[0].phase is Phase.QUEUED

    def begin_next(self) -> list[Event]:
        """Begin the answer of the first turn, which `can_begin`.

        Raises ContextOverflowError when the dialogue with this turn does not fit the context or the KV pool.
        """
        turn = self.turns[0]
        assert turn.user_item is not None and turn.response_id is not None, "a queued turn is committed and encoded"
        assert turn.stopwatch is not None, "it runs from the commit on"
        forgotten, room = self._make_room(turn.user_item)
        self._scheduler.commit(self.number, turn.stopwatch.started)
        self._lm_ended, self._chunk = False, None
        seed = self._turn_seed(turn.index)
        answer = Answer(
            turn.response_id,
            self._lm.vocabulary,
            self.sequence,
            self._decoder.stream(
                self.config.streaming,
                self.config.schedule,
                keep_chunks=False,
                seed=seed,
                settings=self.config.seamless,
            ),
            replace(self._sampling, seed=seed),
            Limits(frozenset(self._lm.config.stop_ids), min(self.config.sampling.max_new_tokens, room)),
            self._speed,
        )
        events = turn.begin(answer, self._cached)
        if forgotten:
            events.append(TurnsForgotten(turn.response_id, forgotten, len(self._turn_lengths)))
        return events

    def _make_room(self, item: HistoryItem) -> tuple[int, int]:
        """Put the turn into the sequence, without the oldest turns where it would not fit with them.

        Returns how many were forgotten, and how many ids the answer may have. Raises ContextOverflowError.
        """
        opening, turn = self._opening(item.text is not None), user_turn(self._lm.vocabulary, item)
        system = self._system or len(opening.system)
        lengths = [*self._turn_lengths, *map(len, opening.turns)]
        context = min(self._lm.config.context, len(self.sequence.ids) + self._scheduler.room(self.number))
        if system + len(turn) + 1 > context:
            raise ContextOverflowError(
                f"the system prompt has {system} ids and this turn {len(turn)}; expected at most {context - 1} in all, "
                "so that an answer fits. Say less."
            )
        wanted = min(self.config.sampling.max_new_tokens, context // _ANSWER_PART, context - system - len(turn))
        dropped = turns_to_drop([*lengths, len(turn)], context=context, opening=system, room=wanted)
        self._cached = min(self._cached, self.sequence.computed)  # a shared start may have been let go
        new = [*opening.system, *chain.from_iterable(opening.turns)]
        if dropped:  # what stays has other positions now: its KV is computed again, but for the system prompt's
            past = [*self.sequence.ids[: self._past], *new]
            kept = past[system + sum(lengths[:dropped]) :]
            self.sequence.rewrite(0, [*past[:system], *kept, *turn])
            self._cached = min(self._cached, system)
        else:
            self.sequence.rewrite(self._past, [*new, *turn])
        self._system, self._turn_lengths = system, lengths[dropped:]
        self._past = len(self.sequence.ids) - len(turn)
        return dropped, context - len(self.sequence.ids)

    def retire(self, turn: Turn, now: float) -> None:
        """A turn is over. One that was never answered leaves nothing in the sequence."""
        if turn.answer is None:
            self.undo(turn)
        if turn is self.turns[0]:
            if len(self.sequence.ids) > self._past:
                self._has_past = True
                self._turn_lengths.append(len(self.sequence.ids) - self._past)
            self._past, self._cached = len(self.sequence.ids), self.sequence.computed
            self._scheduler.finish(self.number, now)
        self.turns.remove(turn)

    def undo(self, turn: Turn) -> None:
        """Take a failed turn's ids, if there are any yet, out of the sequence."""
        if turn is self.turns[0]:
            if not self._has_past:  # the next turn chooses the system prompt anew
                self._past, self._system, self._turn_lengths = 0, 0, []
            self.sequence.truncate(self._past)

    def close(self) -> None:
        """Free what the dialogue holds."""
        self.turns.clear()
        self.sequence.close()

    def _opening(self, is_text: bool) -> Past:
        """What comes before the next turn, after the past; made once, for a history may be long."""
        if self._past:
            return _NOTHING
        if is_text not in self._openings:
            self._openings[is_text] = dialogue_past(
                self._lm.vocabulary, self.config.history, self._lm.config.stop_ids, is_text, self.config.instructions
            )
        return self._openings[is_text]

    def _turn_seed(self, index: int) -> int:
        """Each turn draws anew; the first draws as `LanguageModel.generate` does with the session's seed."""
        assert self._sampling.seed is not None, "seeded at the start"
        return (self._sampling.seed + index) % SEED_LIMIT

    @property
    def _open_turn(self) -> Turn | None:
        return self.turns[-1] if self.turns and self.turns[-1].phase is Phase.LISTENING else None

    def _begin_turn(self, turn: Turn) -> Turn:
        self.turns.append(turn)
        self._n_turns += 1
        return turn
