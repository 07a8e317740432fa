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
from antiphon.engine.think.runner import LMRunner, Row
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.think.sequence import LMSequence
from antiphon.engine.weights.configs import LanguageModelConfig

GREEDY = SamplingParams()


class RecordingRunner(LMRunner):
    """A runner that keeps the hidden rows of every forward, and fills its pool with NaN at the start."""

    def __init__(self, lm: LanguageModel, n_pages: int = 32, page_size: int = 16, **settings: int) -> None:
        super().__init__(lm.model, n_pages, page_size, **settings)
        self.cache.k.fill_(torch.nan)
        self.cache.v.fill_(torch.nan)
        self.forwards: list[torch.Tensor] = []

    def step(self, rows: Sequence[Row]) -> list[int | None]:
        hook = self.model.register_forward_hook(lambda module, inputs, output: self.forwards.append(output))
        try:
            return super().step(rows)
        finally:
            hook.remove()


def _prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(1024), k=length)


def _chunked(runner: RecordingRunner, sequence: LMSequence, chunks: Sequence[int]) -> tuple[torch.Tensor, int]:
    """(hidden of all positions computed here, the id chosen after the last)."""
    runner.forwards.clear()
    results = [runner.step([Row(sequence, n, GREEDY, 0)])[0] for n in chunks]
    assert results[:-1] == [None] * (len(chunks) - 1)
    assert results[-1] is not None
    return torch.cat(runner.forwards), results[-1]


def test_chunked_prefill_equals_whole_whatever_the_chunks_pages_and_their_order(lm: LanguageModel) -> None:
    prompt = _prompt(90)
    runner = RecordingRunner(lm, page_size=64)
    whole, token = _chunked(runner, runner.new_sequence(prompt), [90])
    for page_size in (16, 64):
        for chunks in ([1] * 90, [64, 26], [7, 50, 1, 32], [63, 1, 1, 25]):
            runner = RecordingRunner(lm, page_size=page_size)
            others = [runner.new_sequence(_prompt(page_size)) for _ in range(6)]
            for other in others:
                runner.step([Row(other, page_size, GREEDY, 0)])
            for other in others[::2]:
                other.close()  # holes in the pool, with another's keys in them
            hidden, chosen = _chunked(runner, runner.new_sequence(prompt), chunks)
            assert_close(hidden, whole, TOLERANCE["lm-batched"], f"{page_size=}, {chunks=}")
            assert chosen == token


def test_prefills_and_decodes_in_one_step_equal_each_alone(lm: LanguageModel) -> None:
    prompts = [_prompt(length, seed=length) for length in (33, 1, 18, 40)]
    computed = (32, 0, 5, 39)  # a decode, a first id, the end of a prompt, a decode

    def prepared(runner: RecordingRunner, index: int) -> Row:
        sequence = runner.new_sequence(prompts[index])
        if computed[index] > 0:
            runner.step([Row(sequence, computed[index], GREEDY, 0)])
        return Row(sequence, sequence.uncomputed, GREEDY, 0)

    together = RecordingRunner(lm)
    chosen = together.step([prepared(together, index) for index in range(4)])
    alone, chosen_alone = [], []
    for index in range(4):
        runner = RecordingRunner(lm)
        chosen_alone += runner.step([prepared(runner, index)])
        alone.append(runner.forwards[-1])
    assert_close(together.forwards[-1], torch.cat(alone), TOLERANCE["lm-batched"])
    assert chosen == chosen_alone


def test_truncated_and_extended_equals_fresh(lm: LanguageModel) -> None:
    runner = RecordingRunner(lm)
    sequence = runner.new_sequence(_prompt(70))
    _chunked(runner, sequence, [70])
    sequence.truncate(35)
    assert (len(sequence.ids), sequence.computed, len(sequence.pages)) == (35, 35, 3)
    sequence.extend(_prompt(20, seed=1))
    hidden, token = _chunked(runner, sequence, [8, 12])

    fresh = runner.new_sequence(_prompt(70)[:35] + _prompt(20, seed=1))
    expected, fresh_token = _chunked(runner, fresh, [55])
    assert_close(hidden, expected[35:], TOLERANCE["lm-batched"])
    assert token == fresh_token

    sequence.forget_computed()
    assert (len(sequence.ids), sequence.computed, len(sequence.pages)) == (55, 0, 0)
    assert _chunked(runner, sequence, [55])[1] == token


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happened_before_the_next_id_is_that_of_the_ids_alone(lm: LanguageModel, seed: int) -> None:
    chance = random.Random(seed)
    runner = RecordingRunner(lm, n_pages=12)
    sequences = [runner.new_sequence() for _ in range(3)]
    for _ in range(60):
        sequence = chance.choice(sequences)
        match chance.randrange(5):
            case 0:
                sequence.extend(chance.choices(range(1024), k=chance.randint(1, 12)))
            case 1:
                sequence.truncate(chance.randint(0, len(sequence.ids)))
            case 2:
                sequence.forget_computed()
            case _:
                rows = [Row(one, chance.randint(1, one.uncomputed), GREEDY, 0) for one in sequences if one.uncomputed]
                if runner.pages_needed(rows) <= runner.pool.free_pages:
                    runner.step(rows)
        held = [page for one in sequences for page in one.pages]
        assert len(held) == len(set(held)) == runner.pool.n_pages - runner.pool.free_pages
        assert all(len(one.pages) == -(-one.computed // 16) for one in sequences)
    for sequence in sequences:
        ids = [*sequence.ids, 7]
        sequence.extend([7])
        chosen = runner.step([Row(sequence, sequence.uncomputed, GREEDY, 0)])
        assert chosen == lm.generate(ids, max_new_tokens=1, ignore_eos=True)
        sequence.close()
    assert runner.pool.free_pages == 12


def test_eight_decoding_sequences_make_one_forward_a_step(lm: LanguageModel) -> None:
    runner = LMRunner(lm.model, n_pages=16)
    sequences = [runner.new_sequence(_prompt(5 + index, seed=index)) for index in range(8)]
    chosen = runner.step([Row(sequence, sequence.uncomputed, GREEDY, 0) for sequence in sequences])
    rows_of_forwards: list[int] = []
    hook = lm.model.register_forward_hook(lambda module, inputs, output: rows_of_forwards.append(len(output)))
    for step in range(1, 11):
        for sequence, token in zip(sequences, chosen, strict=True):
            assert token is not None
            sequence.extend([token])
        chosen = runner.step([Row(sequence, 1, GREEDY, step) for sequence in sequences])
    hook.remove()
    assert rows_of_forwards == [8] * 10


def test_too_few_pages_change_nothing(lm: LanguageModel) -> None:
    runner = LMRunner(lm.model, n_pages=4, page_size=16)
    first, second = runner.new_sequence(_prompt(40)), runner.new_sequence(_prompt(33))
    rows = [Row(first, 40, GREEDY, 0), Row(second, 33, GREEDY, 0)]
    assert runner.pages_needed(rows) == 6
    with pytest.raises(OutOfPagesError, match="needs 6 KV pages, 4 of 4 are free"):
        runner.step(rows)
    assert runner.pool.free_pages == 4
    assert (first.computed, second.computed, first.pages, second.pages) == (0, 0, [], [])
    runner.step([Row(first, 40, GREEDY, 0)])
    assert runner.pages_needed([Row(second, 17, GREEDY, 0)]) == 2
    for sequence in (first, second, first):
        sequence.close()
    assert runner.pool.free_pages == 4


def test_rows_that_cannot_run_together_are_refused(lm: LanguageModel) -> None:
    runner = LMRunner(lm.model, n_pages=4, max_batch_tokens=12)
    sequence, other = runner.new_sequence(_prompt(10)), runner.new_sequence(_prompt(3))
    for n_tokens in (0, 11):
        with pytest.raises(TokenError, match=f"asks for {n_tokens} ids of a sequence with 10 uncomputed"):
            runner.step([Row(sequence, n_tokens, GREEDY, 0)])
    with pytest.raises(TokenError, match="stands in two rows of one step"):
        runner.step([Row(sequence, 5, GREEDY, 0)] * 2)
    with pytest.raises(TokenError, match="has 13 ids; expected at most 12"):
        runner.step([Row(sequence, 10, GREEDY, 0), Row(other, 3, GREEDY, 0)])
    assert runner.step([]) == []
    assert runner.pool.free_pages == 4


def test_ids_a_sequence_cannot_take_are_refused(lm: LanguageModel) -> None:
    sequence = LMRunner(lm.model, n_pages=1).new_sequence(_prompt(3))
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
