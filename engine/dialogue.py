"""One dialogue's state inside the engine: its LM sequence, and its turns in order."""

from collections import deque
from dataclasses import replace

from antiphon.engine.answer import Answer, Limits
from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import AntiphonError, ContextOverflowError
from antiphon.engine.events import Event
from antiphon.engine.hear.listener import Listener
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.history import HistoryItem
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.dialogue_prompt import dialogue_past, user_turn
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.prompt import speech_turn_so_far
from antiphon.engine.think.runner import Row
from antiphon.engine.think.sampling import SEED_LIMIT
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.turn import Phase, Turn
from antiphon.engine.types import Float32Array


class Dialogue:
    """Known to the loop by its name. The first of `turns` may be answering, the last may still be listening.

    While nothing is being answered, what is heard of the next turn is put into the sequence ahead of its commit: its
    first `_past` ids are those of the turns that are over, and what follows is rewritten as the tokenizer's ids change.
    """

    def __init__(
        self,
        name: str,
        number: int,
        config: SessionConfig,
        tokenizer: SpeechTokenizer,
        lm: LanguageModel,
        decoder: SpeechDecoder,
        sequence: LMSequence,
    ) -> None:
        self.name = name
        self.number = number  # the scheduler knows it by this alone
        self.config = config
        self._sampling = config.sampling.seeded()
        self.sequence = sequence  # all ids of the past, then of the prompt and the answer under way
        self.turns: deque[Turn] = deque()
        self.unread_samples = 0  # of audio handed out that the caller has not taken
        self.last_active = 0.0  # the clock when its last answer ended
        self._tokenizer = tokenizer
        self._lm = lm
        self._decoder = decoder
        self._n_turns = 0
        self._past = 0  # ids of the turns that are over
        self._cached = 0  # of them, those whose KV has been there since the last one ended
        self._openings: dict[bool, list[int]] = {}  # what comes before the first turn, by whether that is text

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

    @property
    def arrival(self) -> int:
        """When the turn being answered was committed, in the engine's order of commits; 0 without one."""
        return self.answering.arrival if self.answering is not None else 0

    @property
    def wants_lm(self) -> bool:
        """Whether the LM has something to do."""
        return self.answering is not None and self.running[1].wants_lm

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

    def clear_input(self) -> None:
        """Forget the turn that is not yet committed."""
        if self._open_turn is not None:
            self.turns.pop()
            self._n_turns -= 1
            if not self.turns:
                self.sequence.truncate(self._past)

    def commit(self, response_id: str, arrival: int, now: float) -> None:
        """The open turn is complete. The session commits no empty one."""
        turn = self._open_turn
        assert turn is not None, f"{self.name}: a commit without input reached the engine"
        turn.commit(response_id, arrival, now)

    # Listening ahead

    @property
    def hears_next(self) -> bool:
        """Whether the next turn to be answered is being spoken: then the sequence is free for it."""
        return bool(self.turns) and self.turns[0].phase is Phase.LISTENING and isinstance(self.turns[0].input, Listener)

    def listen_ahead(self) -> None:
        """Put what is heard so far of the next turn into the sequence, where that is free for it."""
        if not self.hears_next or (codes := self.turns[0].take_heard()) is None:
            return
        try:
            self.sequence.rewrite(
                self._past, [*self._opening(is_text=False), *speech_turn_so_far(self._lm.vocabulary, codes)]
            )
        except AntiphonError:
            return  # too long, or instructions that are no prompt: the commit, if it comes, will tell the caller

    @property
    def ahead(self) -> int:
        """Computed positions of the next turn, which is not committed yet."""
        return max(0, self.sequence.computed - self._past) if self.hears_next else 0

    @property
    def ahead_due(self) -> int:
        """Ids that may be computed before the commit: all but the last, so that no answer is begun."""
        return max(0, self.sequence.uncomputed - 1) if self.hears_next else 0

    def ahead_row(self, n_tokens: int) -> Row:
        """The next `n_tokens` of `ahead_due`, for a packed forward."""
        return Row(self.sequence, n_tokens, self._sampling, step_index=0)

    def forget_computed(self, keep: int = 0) -> None:
        """Give up the KV past the first `keep` positions. The ids stay."""
        self.sequence.forget_computed(keep)
        self._cached = min(self._cached, self.sequence.computed)

    # Answering

    @property
    def can_begin(self) -> bool:
        """Whether the first turn is committed, encoded, and not already under way."""
        return bool(self.turns) and self.turns[0].phase is Phase.QUEUED

    def begin_next(self, pool_positions: int) -> list[Event]:
        """Begin the answer of the first turn, which `can_begin`.

        Raises ContextOverflowError when the dialogue with this turn does not fit the context or the KV pool.
        """
        turn = self.turns[0]
        assert turn.user_item is not None and turn.response_id is not None, "a queued turn is committed and encoded"
        past = self._past
        prompt = self._prompt(turn.user_item)
        room = min(self._lm.config.context, pool_positions) - past - len(prompt)
        if room < 1:
            limit = past + len(prompt) + room - 1
            raise ContextOverflowError(
                f"the dialogue has {past} ids and this turn {len(prompt)} more; expected at most {limit} in all, "
                "so that an answer fits. Open a new session, or say less."
            )
        self.sequence.rewrite(past, prompt)
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
        )
        return turn.begin(answer, self._cached)

    def retire(self, turn: Turn, now: float) -> None:
        """A turn is over. One that was never answered leaves nothing in the sequence."""
        if turn.answer is None:
            self.undo(turn)
        if turn is self.turns[0]:
            self._past, self._cached = len(self.sequence.ids), self.sequence.computed
        self.turns.remove(turn)
        self.last_active = now

    def undo(self, turn: Turn) -> None:
        """Take a failed turn's ids, if there are any yet, out of the sequence."""
        if turn is self.turns[0]:
            self.sequence.truncate(self._past)

    def close(self) -> None:
        """Free what the dialogue holds."""
        self.turns.clear()
        self.sequence.close()

    def _prompt(self, item: HistoryItem) -> list[int]:
        """The ids that ask for an answer to `item`, after the past."""
        return [*self._opening(is_text=item.text is not None), *user_turn(self._lm.vocabulary, item)]

    def _opening(self, is_text: bool) -> list[int]:
        """What comes before the next turn, after the past; made once, for a history may be long."""
        if self._past:
            return []
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
