"""The runner: what is computed depends on a sequence's ids alone, and pages come back."""

import random
from collections.abc import Sequence

import pytest
import torch
from compare import assert_close
from tolerances import TOLERANCE

from antiphon.engine.errors import ContextOverflowError, OutOfPagesError, TokenError
from antiphon.engine.think.kv_cache import bytes_per_token, page_bytes
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.runner import LMRunner, Row, generate
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.scheduler.settings import Settings

GREEDY = SamplingParams()


class PlannedRunner(LMRunner):
    """A runner that is told how far each sequence goes in a step, as its scheduler would plan it for a caller who
    speaks, or for a turn that is committed. Keeps the hidden rows of every forward; its pool begins as NaN."""

    def __init__(self, lm: LanguageModel, n_pages: int = 32, page_size: int = 16) -> None:
        super().__init__(lm.model, Settings(n_pages=n_pages, page_size=page_size, max_row_pages=512))
        self.cache.k.fill_(torch.nan)
        self.cache.v.fill_(torch.nan)
        self.forwards: list[torch.Tensor] = []
        self.opened: list[LMSequence] = []

    def begin(self, ids: Sequence[int] = ()) -> LMSequence:
        self.opened.append(self.new_sequence(len(self.opened)))
        if ids:
            self.opened[-1].extend(ids)
        return self.opened[-1]

    def compute(self, shares: Sequence[tuple[LMSequence, int]]) -> list[int | None]:
        """One forward of so many more positions of each: the id it chose where these are all, else None."""
        rest = {}
        for sequence, n_tokens in shares:
            goes_to = sequence.computed + n_tokens
            if n_tokens == sequence.uncomputed:
                self.scheduler.commit(sequence.number, 0.0)
                continue
            rest[sequence.number] = list(sequence.ids[goes_to + 1 :])
            sequence.truncate(goes_to + 1)  # one is always left to a commit
            self.scheduler.listen(sequence.number, 0.0)
        chosen = self.run()
        for sequence, _ in shares:
            self.scheduler.finish(sequence.number, 0.0)
            if more := rest.get(sequence.number):
                sequence.extend(more)
        return [chosen[sequence.number] for sequence, _ in shares]

    def run(self, step_index: int = 0) -> dict[int, int | None]:
        """The next plan's forward: what each sequence chose, by number."""
        plan = self.scheduler.plan(0.0, speech=False, hear=False)
        numbers = self.buffers.lm_dialogues[: plan.lm_rows].tolist()
        rows = [Row(self.opened[number], place, GREEDY, step_index) for place, number in enumerate(numbers)]
        hook = self.model.register_forward_hook(lambda module, inputs, output: self.forwards.append(output))
        try:
            return dict(zip(numbers, self.step(rows), strict=True))
        finally:
            hook.remove()


def _prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(1024), k=length)


def _chunked(runner: PlannedRunner, sequence: LMSequence, chunks: Sequence[int]) -> tuple[torch.Tensor, int]:
    """(hidden of all positions computed here, the id chosen after the last)."""
    runner.forwards.clear()
    results = [runner.compute([(sequence, n)])[0] for n in chunks]
    assert results[:-1] == [None] * (len(chunks) - 1)
    assert results[-1] is not None
    return torch.cat(runner.forwards), results[-1]


def test_chunked_prefill_equals_whole_whatever_the_chunks_pages_and_their_order(lm: LanguageModel) -> None:
    prompt = _prompt(90)
    runner = PlannedRunner(lm, page_size=64)
    whole, token = _chunked(runner, runner.begin(prompt), [90])
    for page_size in (16, 64):
        for chunks in ([1] * 90, [64, 26], [7, 50, 1, 32], [63, 1, 1, 25]):
            runner = PlannedRunner(lm, page_size=page_size)
            others = [runner.begin(_prompt(page_size)) for _ in range(6)]
            for other in others:
                runner.compute([(other, page_size)])
            for other in others[::2]:
                other.close()  # holes in the pool, with another's keys in them
            hidden, chosen = _chunked(runner, runner.begin(prompt), chunks)
            assert_close(hidden, whole, TOLERANCE["lm-batched"], f"{page_size=}, {chunks=}")
            assert chosen == token


def test_prefills_and_decodes_in_one_step_equal_each_alone(lm: LanguageModel) -> None:
    prompts = [_prompt(length, seed=length) for length in (33, 1, 18, 40)]
    computed = (32, 0, 5, 39)  # a decode, a first id, the end of a prompt, a decode

    def prepared(runner: PlannedRunner, index: int) -> LMSequence:
        sequence = runner.begin(prompts[index])
        if computed[index] > 0:
            runner.compute([(sequence, computed[index])])
        return sequence

    together = PlannedRunner(lm)
    sequences = [prepared(together, index) for index in range(4)]
    chosen = together.compute([(sequence, sequence.uncomputed) for sequence in sequences])
    order = together.buffers.lm_dialogues[:4].tolist()
    assert order == [0, 1, 3, 2], "decodes first"
    alone, chosen_alone = [], []
    for index in range(4):
        runner = PlannedRunner(lm)
        sequence = prepared(runner, index)
        chosen_alone += runner.compute([(sequence, sequence.uncomputed)])
        alone.append(runner.forwards[-1])
    assert_close(together.forwards[-1], torch.cat([alone[index] for index in order]), TOLERANCE["lm-batched"])
    assert chosen == chosen_alone


def test_truncated_and_extended_equals_fresh(lm: LanguageModel) -> None:
    runner = PlannedRunner(lm)
    sequence = runner.begin(_prompt(70))
    _chunked(runner, sequence, [70])
    sequence.truncate(35)
    assert (len(sequence.ids), sequence.computed, len(sequence.pages)) == (35, 35, 3)
    sequence.extend(_prompt(20, seed=1))
    hidden, token = _chunked(runner, sequence, [8, 12])

    fresh = runner.begin(_prompt(70)[:35] + _prompt(20, seed=1))
    expected, fresh_token = _chunked(runner, fresh, [55])
    assert_close(hidden, expected[35:], TOLERANCE["lm-batched"])
    assert token == fresh_token

    runner.scheduler.drop(sequence.number)
    assert (len(sequence.ids), sequence.computed, len(sequence.pages)) == (55, 0, 0)
    assert _chunked(runner, sequence, [55])[1] == token


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happened_before_the_next_id_is_that_of_the_ids_alone(lm: LanguageModel, seed: int) -> None:
    chance = random.Random(seed)
    runner = PlannedRunner(lm, n_pages=12)
    sequences = [runner.begin() for _ in range(3)]
    for _ in range(60):
        sequence = chance.choice(sequences)
        match chance.randrange(5):
            case 0:
                more = chance.choices(range(1024), k=chance.randint(1, 12))
                sequence.extend(more)
            case 1:
                sequence.truncate(chance.randint(0, len(sequence.ids)))
            case 2:
                runner.scheduler.drop(sequence.number)
            case _:
                shares = [(one, chance.randint(1, one.uncomputed)) for one in sequences if one.uncomputed]
                needed = sum(-(-(one.computed + n) // 16) - len(one.pages) for one, n in shares)
                if needed <= runner.scheduler.free_pages:
                    runner.compute(shares)
        held = [page for one in sequences for page in one.pages]
        assert len(held) == len(set(held)) == runner.scheduler.n_pages - runner.scheduler.free_pages
        assert all(len(one.pages) == -(-one.computed // 16) for one in sequences)
    for sequence in sequences:
        ids = [*sequence.ids, 7]
        sequence.extend([7])
        chosen = runner.compute([(sequence, sequence.uncomputed)])
        assert chosen == lm.generate(ids, max_new_tokens=1, ignore_eos=True)
        sequence.close()
    assert runner.scheduler.free_pages == 12


def test_eight_decoding_sequences_make_one_forward_a_step(lm: LanguageModel) -> None:
    runner = PlannedRunner(lm, n_pages=16)
    sequences = [runner.begin(_prompt(5 + index, seed=index)) for index in range(8)]
    for sequence in sequences:
        runner.scheduler.commit(sequence.number, 0.0)
    chosen = runner.run()
    runner.forwards.clear()
    for step in range(1, 11):
        for number, token in chosen.items():
            assert token is not None
            sequences[number].extend([token])
        chosen = runner.run(step)
    assert [len(rows) for rows in runner.forwards] == [8] * 10


def test_a_sequence_that_the_pool_cannot_hold_is_refused_and_changes_nothing(lm: LanguageModel) -> None:
    runner = PlannedRunner(lm, n_pages=4)
    first = runner.begin(_prompt(40))
    with pytest.raises(OutOfPagesError, match="40 ids and 33 more make 73; expected at most 64"):
        first.extend(_prompt(33))
    with pytest.raises(OutOfPagesError, match="30 ids and 40 more make 70; expected at most 64"):
        first.rewrite(30, _prompt(40, seed=1))
    assert (len(first.ids), first.computed, first.pages, runner.scheduler.free_pages) == (40, 0, [], 4)
    runner.compute([(first, 40)])
    second = runner.begin(_prompt(33))
    for sequence in (first, second, first):
        sequence.close()
    assert runner.scheduler.free_pages == 4


def test_prompts_that_the_pool_cannot_hold_at_once_are_answered_in_turn(lm: LanguageModel) -> None:
    requests = [(_prompt(40, seed=index), SamplingParams(max_new_tokens=8, ignore_eos=True)) for index in range(3)]
    runner = LMRunner(lm.model, Settings(n_pages=4, page_size=16))
    assert generate(runner, requests, lm.config.stop_ids) == [
        lm.generate(prompt, max_new_tokens=8, ignore_eos=True) for prompt, _ in requests
    ]
    assert runner.scheduler.free_pages == 4


def test_ids_a_sequence_cannot_take_are_refused(lm: LanguageModel) -> None:
    sequence = PlannedRunner(lm, n_pages=600).begin(_prompt(3))
    with pytest.raises(TokenError, match="id 1024 at position 1 is outside 0 to 1023"):
        sequence.extend([0, 1024])
    with pytest.raises(ContextOverflowError, match="3 ids and 8190 more make 8193; expected at most .* 8192"):
        sequence.extend([0] * 8190)
    with pytest.raises(TokenError, match="cannot keep the first 4 of 3 ids"):
        sequence.truncate(4)
    assert len(sequence.ids) == 3 and sequence.room == 8189


def test_bytes_of_the_published_model() -> None:
    assert bytes_per_token(LanguageModelConfig(), torch.bfloat16) == 40_960
    assert page_bytes(LanguageModelConfig(), torch.bfloat16) == 64 * 40_960
