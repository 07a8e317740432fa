"""One LM forward for whoever has something to compute. The engine loop plans its rows; `generate` is a plain plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from antiphon.engine.errors import ContextOverflowError, OutOfPagesError, TokenError
from antiphon.engine.think.kv_cache import PAGE_SIZE, PackedBatch, PagedKVCache
from antiphon.engine.think.model import GLM
from antiphon.engine.think.sampling import SamplingParams, choose_ids
from antiphon.engine.think.sequence import LMSequence
from antiphon.scheduler.pages import PagePool


@dataclass(frozen=True)
class Row:
    """A sequence's share of one step: its next `n_tokens` uncomputed ids, and how to choose the one that follows."""

    sequence: LMSequence
    n_tokens: int  # 1 to sequence.uncomputed
    sampling: SamplingParams  # with a seed where it has a temperature: `SamplingParams.seeded`
    step_index: int  # which id of its answer this row may choose, from 0: with the seed it fixes the draw

    @property
    def reaches_end(self) -> bool:
        """Whether this step computes the last of the sequence's ids."""
        return self.n_tokens == self.sequence.uncomputed


class LMRunner:
    """Owns the KV cache and its pages. Not for several threads at once."""

    def __init__(self, model: GLM, n_pages: int, page_size: int = PAGE_SIZE, max_batch_tokens: int = 2_048) -> None:
        self.model = model
        self.pool = PagePool(n_pages)
        self.cache = PagedKVCache.allocate(model.config, n_pages, page_size, model.device, model.dtype)
        self.max_batch_tokens = max_batch_tokens  # rows of one forward

    def new_sequence(self, ids: Sequence[int] = ()) -> LMSequence:
        """A sequence of this runner's pool. Close it to give its pages back."""
        sequence = LMSequence(self.model.config, self.pool, self.cache.page_size)
        if len(ids) > 0:
            sequence.extend(ids)
        return sequence

    def pages_needed(self, rows: Sequence[Row]) -> int:
        """Pages that a step of these rows would take from the pool."""
        return sum(row.sequence.pages_needed(row.n_tokens) for row in rows)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row]) -> list[int | None]:
        """Compute the rows in one packed forward: the id each row chose, None where its sequence has more to compute.

        A chosen id is not appended: the caller decides whether the answer goes on (`sequence.extend([id])`).
        Raises OutOfPagesError, before anything changes, when the pool has too few pages, and TokenError for rows that
        cannot be run together.
        """
        if not rows:
            return []
        self._check(rows)
        needed, free = self.pages_needed(rows), self.pool.free_pages
        if needed > free:
            raise OutOfPagesError(
                f"the step needs {needed} KV pages, {free} of {self.pool.n_pages} are free; run fewer rows or close a "
                "sequence."
            )
        for row in rows:
            row.sequence.reserve(row.n_tokens)
        ids, batch = self._pack(rows)
        hidden = self.model(ids, batch, self.cache)
        ends = [row.reaches_end for row in rows]
        for row in rows:
            row.sequence.advance(row.n_tokens)
        ending = [row for row, end in zip(rows, ends, strict=True) if end]
        chosen: list[int] = []
        if ending:
            last_rows = batch.cu_seqlens_q[1:].long() - 1
            logits = self.model.logits(hidden[last_rows[torch.tensor(ends, device=last_rows.device)]])
            chosen = choose_ids(logits, [row.sampling for row in ending], [row.step_index for row in ending])
        following = iter(chosen)
        return [next(following) if end else None for end in ends]

    def _check(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if not 1 <= row.n_tokens <= row.sequence.uncomputed:
                raise TokenError(
                    f"a row asks for {row.n_tokens} ids of a sequence with {row.sequence.uncomputed} uncomputed; "
                    "expected 1 up to that number."
                )
        if len({id(row.sequence) for row in rows}) != len(rows):
            raise TokenError("a sequence stands in two rows of one step; expected one row each.")
        total = sum(row.n_tokens for row in rows)
        if total > self.max_batch_tokens:
            raise TokenError(f"the step has {total} ids; expected at most {self.max_batch_tokens} (max_batch_tokens).")

    def _pack(self, rows: Sequence[Row]) -> tuple[torch.Tensor, PackedBatch]:
        """(ids i64[N], the batch), on the model's device."""
        page_size = self.cache.page_size
        most_pages = max(len(row.sequence.pages) for row in rows)
        tables = np.zeros((len(rows), most_pages), np.int32)
        ids, positions, slots = [], [], []
        for table, row in zip(tables, rows, strict=True):
            sequence = row.sequence
            table[: len(sequence.pages)] = sequence.pages
            at = np.arange(sequence.computed, sequence.computed + row.n_tokens)
            ids.append(np.array(sequence.ids[at[0] : at[-1] + 1], np.int64))
            positions.append(at)
            slots.append(table[at // page_size].astype(np.int64) * page_size + at % page_size)
        lengths = [row.n_tokens for row in rows]
        batch = PackedBatch(
            positions=self._on_device(np.concatenate(positions)),
            cu_seqlens_q=self._on_device(np.array([0, *accumulate(lengths)], np.int32)),
            context_lens=self._on_device(np.array([row.sequence.computed + row.n_tokens for row in rows], np.int32)),
            block_tables=self._on_device(tables),
            slot_mapping=self._on_device(np.concatenate(slots)),
        )
        return self._on_device(np.concatenate(ids)), batch

    def _on_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.model.device, non_blocking=True)


@dataclass
class _Answer:
    """One request of `generate` under way."""

    sequence: LMSequence
    sampling: SamplingParams
    limit: int  # ids, by max_new_tokens or by the context
    ids: list[int]
    finished: bool = False


def generate(
    runner: LMRunner,
    requests: Sequence[tuple[Sequence[int], SamplingParams]],  # prompt ids and settings
    stop_ids: Sequence[int],
) -> list[list[int]]:
    """Answer all prompts in one continuous batch; a stop id that ends an answer is its last id.

    Each step takes the sequences that decode first, then as much of the prompts as fits into the batch.
    Raises ContextOverflowError for a prompt that leaves no room, OutOfPagesError when the pool is too small for all.
    """
    answers: list[_Answer] = []
    try:
        for ids, sampling in requests:
            sequence = runner.new_sequence(ids)
            answers.append(_Answer(sequence, sampling.seeded(), min(sampling.max_new_tokens, sequence.room), []))
            if sequence.room < 1:
                raise ContextOverflowError(
                    f"the prompt has {len(ids)} ids and fills the model's context of {runner.model.config.context}; "
                    "expected room for at least one more. Drop the oldest turns."
                )
        while running := [answer for answer in answers if not answer.finished]:
            _advance(runner, running, stop_ids)
    finally:
        for answer in answers:
            answer.sequence.close()
    return [answer.ids for answer in answers]


def _advance(runner: LMRunner, running: Sequence[_Answer], stop_ids: Sequence[int]) -> None:
    """One step of the answers that fit into it."""
    rows: list[Row] = []
    members: list[_Answer] = []
    budget = runner.max_batch_tokens
    for answer in sorted(running, key=lambda answer: answer.sequence.uncomputed > 1):
        n_tokens = min(answer.sequence.uncomputed, budget)
        if n_tokens > 0:
            rows.append(Row(answer.sequence, n_tokens, answer.sampling, len(answer.ids)))
            members.append(answer)
            budget -= n_tokens
    for answer, chosen in zip(members, runner.step(rows), strict=True):
        if chosen is None:
            continue
        answer.ids.append(chosen)
        stopped = chosen in stop_ids and not answer.sampling.ignore_eos
        answer.finished = stopped or len(answer.ids) == answer.limit
        if answer.finished:
            answer.sequence.close()
        else:
            answer.sequence.extend([chosen])
