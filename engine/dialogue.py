"""One dialogue's state inside the engine: its LM sequence, and its turns in order."""

from collections import deque
from dataclasses import replace

from antiphon.engine.answer import Answer, Limits
from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import ContextOverflowError
from antiphon.engine.events import Event
from antiphon.engine.hear.listener import Listener
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.history import HistoryItem
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.think.dialogue_prompt import dialogue_prompt, user_turn
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.sampling import SEED_LIMIT
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.turn import Phase, Turn
from antiphon.engine.types import Float32Array


class Dialogue:
    """Known to the loop by its name. The first of `turns` may be answering, the last may still be listening."""

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

    def listen(self, samples: Float32Array, rate: int) -> None:
        """More audio of the turn that is not yet committed; the first begins it."""
        turn = self._open_turn
        if turn is None:
            turn = self._begin_turn(Turn(self._n_turns, Listener(self._tokenizer, rate), self.config.await_playback))
        turn.listen(samples, rate)

    def read(self, text: str) -> None:
        """The next turn as text."""
        self._begin_turn(Turn(self._n_turns, text, self.config.await_playback))

    def clear_input(self) -> None:
        """Forget the turn that is not yet committed."""
        if self._open_turn is not None:
            self.turns.pop()
            self._n_turns -= 1

    def commit(self, response_id: str, arrival: int, now: float) -> None:
        """The open turn is complete. The session commits no empty one."""
        turn = self._open_turn
        assert turn is not None, f"{self.name}: a commit without input reached the engine"
        turn.commit(response_id, arrival, now)

    # Answering

    def begin_next(self, pool_positions: int) -> list[Event]:
        """Begin the answer of the first turn, if it is committed, encoded, and not already under way.

        Raises ContextOverflowError when the dialogue with this turn does not fit the context or the KV pool.
        """
        if not self.turns or self.turns[0].phase is not Phase.QUEUED:
            return []
        turn = self.turns[0]
        assert turn.user_item is not None and turn.response_id is not None, "a queued turn is committed and encoded"
        past = len(self.sequence.ids)
        prompt = self._prompt(turn.user_item)
        room = min(self.sequence.room, pool_positions - past) - len(prompt)
        if room < 1:
            limit = past + len(prompt) + room - 1
            raise ContextOverflowError(
                f"the dialogue has {past} ids and this turn {len(prompt)} more; expected at most {limit} in all, "
                "so that an answer fits. Open a new session, or say less."
            )
        self.sequence.extend(prompt)
        answer = Answer(
            turn.response_id,
            self._lm.vocabulary,
            self.sequence,
            self._decoder.stream(self.config.streaming, self.config.schedule, keep_chunks=False),
            replace(self._sampling, seed=self._turn_seed(turn.index)),
            Limits(frozenset(self._lm.config.stop_ids), min(self.config.sampling.max_new_tokens, room)),
        )
        return turn.begin(answer, past)

    def retire(self, turn: Turn, now: float) -> None:
        """A turn is over."""
        self.turns.remove(turn)
        self.last_active = now

    def undo(self, turn: Turn) -> None:
        """Take a failed turn's ids, if there are any yet, out of the sequence."""
        if turn.answer is not None:
            self.sequence.truncate(turn.past_positions)

    def close(self) -> None:
        """Free what the dialogue holds."""
        self.turns.clear()
        self.sequence.close()

    def _prompt(self, item: HistoryItem) -> list[int]:
        """The ids that ask for an answer to `item`, after the sequence's."""
        vocabulary = self._lm.vocabulary
        if self.sequence.ids:
            return user_turn(vocabulary, item)
        return dialogue_prompt(
            vocabulary, [*self.config.history, item], self._lm.config.stop_ids, self.config.instructions
        )

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
