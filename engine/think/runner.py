"""One LM forward of what the scheduler has planned. The engine loop and `generate` both run their plans here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from antiphon.engine.errors import ContextOverflowError
from antiphon.engine.graphs import runs_in_buckets
from antiphon.engine.think.decode import DecodeForward, PlannedRows
from antiphon.engine.think.kv_cache import PackedBatch, PagedKVCache
from antiphon.engine.think.model import GLM
from antiphon.engine.think.sampling import SamplingColumns, SamplingParams, choose_ids
from antiphon.engine.think.sequence import LMSequence, SharedStart
from antiphon.scheduler._core import Scheduler
from antiphon.scheduler.buffers import PlanBuffers
from antiphon.scheduler.settings import Settings, pages_for


@dataclass(frozen=True)
class Row:
    """A sequence's share of the latest plan, and how to choose the id that follows."""

    sequence: LMSequence
    place: int  # among the plan's rows
    sampling: SamplingParams  # with a seed where it has a temperature: `SamplingParams.seeded`
    step_index: int  # which id of its answer this row may choose, from 0: with the seed it fixes the draw


class LMRunner:
    """Owns the KV cache, and the scheduler that says what goes where in it. Not for several threads at once."""

    def __init__(self, model: GLM, settings: Settings, bucketed: bool | None = None) -> None:
        """`bucketed`: steps of decodes alone run in buckets, on CUDA from graphs. None: as `runs_in_buckets` says."""
        self.model = model
        self.buffers = PlanBuffers.allocate(settings)
        self.scheduler = Scheduler(settings, self.buffers)
        bucketed = runs_in_buckets() if bucketed is None else bucketed
        pages = settings.n_pages + bucketed  # the last one is not the scheduler's to give
        self.cache = PagedKVCache.allocate(model.config, pages, settings.page_size, model.device, model.dtype)
        self._decodes = DecodeForward(model, self.cache, settings.n_pages) if bucketed else None

    def new_sequence(self, number: int, now: float = 0.0, start: SharedStart | None = None) -> LMSequence:
        """A sequence of no ids, or of a shared start: opens the scheduler's dialogue `number`. Close it to free its
        pages."""
        if start is None:
            self.scheduler.open(number, now)
            return LMSequence(self.model.config, self.scheduler, number)
        self.scheduler.open(number, now, start.prefix)
        return LMSequence(self.model.config, self.scheduler, number, start.ids)

    @torch.inference_mode()
    def step(self, rows: Sequence[Row]) -> list[int | None]:
        """Compute rows of the latest plan in one packed forward: the id each row chose, None where its sequence has
        more to compute, or nobody waits for an answer yet.

        The rows are neighbours in the plan, in its order: all of it, or one that is tried by itself. The scheduler is
        told that they are done. A chosen id is not appended: the caller decides whether the answer goes on
        (`sequence.extend([id])`).
        """
        if not rows:
            return []
        first, end = rows[0].place, rows[-1].place + 1
        assert [row.place for row in rows] == list(range(first, end)), "rows of a plan are run in its order"
        ends = self.buffers.lm_ends[first:end].astype(bool)
        ending = [row for row, is_end in zip(rows, ends, strict=True) if is_end]
        params, steps = [row.sampling for row in ending], [row.step_index for row in ending]
        planned = self._planned(rows, first, end)
        chosen: list[int] = []
        if self._decodes is not None and len(ending) == len(rows) == len(planned.ids):
            chosen = self._decodes.choose(planned, SamplingColumns.of(params, steps))
        else:
            batch = self._batch(planned, self.buffers.cu_seqlens[first : end + 1])
            hidden = self.model(self._on_device(planned.ids), batch, self.cache)
            if ending:
                last_rows = batch.cu_seqlens_q[1:].long() - 1
                logits = self.model.logits(hidden[last_rows[torch.from_numpy(ends).to(last_rows.device)]])
                chosen = choose_ids(logits, params, steps)
        self.scheduler.lm_done(np.arange(first, end, dtype=np.int32))
        following = iter(chosen)
        return [next(following) if is_end else None for is_end in ends]

    def _planned(self, rows: Sequence[Row], first: int, end: int) -> PlannedRows:
        """The plan's rows first … end - 1."""
        plan = self.buffers
        begins = plan.cu_seqlens[first : end + 1]
        span = slice(begins[0], begins[-1])
        positions, contexts = plan.positions[span], plan.context_lens[first:end]
        ids = [
            np.array(row.sequence.ids[plan.positions[begin] : context], np.int64)
            for row, begin, context in zip(rows, begins[:-1], contexts, strict=True)
        ]
        most_pages = pages_for(int(contexts.max()), self.cache.page_size)
        tables = np.ascontiguousarray(plan.block_tables[first:end, :most_pages])
        return PlannedRows(np.concatenate(ids), positions, contexts, tables, plan.slots[span])

    def _batch(
        self,
        planned: PlannedRows,
        begins: np.ndarray,  # i32[S + 1]: where each sequence's positions begin in the plan
    ) -> PackedBatch:
        """The batch, on the model's device."""
        return PackedBatch(
            positions=self._on_device(planned.positions).long(),
            cu_seqlens_q=self._on_device(begins - begins[0]),
            context_lens=self._on_device(planned.context_lens),
            block_tables=self._on_device(planned.block_tables),
            slot_mapping=self._on_device(planned.slots).long(),
        )

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
    runner: LMRunner,  # with nothing open
    requests: Sequence[tuple[Sequence[int], SamplingParams]],  # prompt ids and settings
    stop_ids: Sequence[int],
) -> list[list[int]]:
    """Answer all prompts in one continuous batch; a stop id that ends an answer is its last id.

    Raises ContextOverflowError for a prompt that leaves no room, OutOfPagesError when the pool is too small for one
    of the sequences by itself.
    """
    answers: list[_Answer] = []
    try:
        for number, (ids, sampling) in enumerate(requests):
            answer = _Answer(runner.new_sequence(number), sampling.seeded(), 0, [])
            answers.append(answer)
            answer.sequence.extend(ids)
            answer.limit = min(sampling.max_new_tokens, answer.sequence.room)
            if answer.sequence.room < 1:
                raise ContextOverflowError(
                    f"the prompt has {len(ids)} ids and fills the model's context of {runner.model.config.context}; "
                    "expected room for at least one more. Drop the oldest turns."
                )
            runner.scheduler.commit(number, 0.0)
        while not all(answer.finished for answer in answers):
            _advance(runner, answers, stop_ids)
    finally:
        for answer in answers:
            answer.sequence.close()
    return [answer.ids for answer in answers]


def _advance(runner: LMRunner, answers: Sequence[_Answer], stop_ids: Sequence[int]) -> None:
    """One step of the answers that fit into it. Their numbers are their places."""
    plan = runner.scheduler.plan(0.0, speech=False, hear=False)
    members = [answers[number] for number in runner.buffers.lm_dialogues[: plan.lm_rows].tolist()]
    rows = [Row(one.sequence, place, one.sampling, len(one.ids)) for place, one in enumerate(members)]
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
