"""Decodes in buckets: surplus rows change nothing, and the forward reads nothing back."""

import numpy as np
import pytest
import torch
from compare import assert_close
from interpreter import interpreted
from launches import recorded
from tolerances import TOLERANCE

from antiphon.engine.graphs import bucket_of
from antiphon.engine.think.decode import DecodeForward, PlannedRows
from antiphon.engine.think.kv_cache import PackedBatch, PagedKVCache
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.think.runner import LMRunner, generate
from antiphon.engine.think.sampling import SamplingColumns, SamplingParams
from antiphon.engine.weights.generate.sizes import SIZES
from antiphon.kernels.sample import sample
from antiphon.scheduler.settings import Settings

PAGE, PAGES = 16, 12
DRAWN = SamplingParams(temperature=0.9, top_p=0.9, top_k=40, seed=7)


def _cache(model: GLM) -> PagedKVCache:
    """Keys and values of some past; the spare page is undefined."""
    cache = PagedKVCache.allocate(model.config, PAGES + 1, PAGE)
    generator = torch.Generator().manual_seed(0)
    for pages in (cache.k, cache.v):
        pages.normal_(generator=generator)
        pages[:, PAGES] = torch.nan
    return cache


def _decodes() -> PlannedRows:
    """Five dialogues of 1 to 70 positions, their pages anywhere."""
    contexts = np.array([40, 1, 17, 70, 16], np.int32)
    tables = np.full((5, 5), 10**6, np.int32)  # what is not looked at
    pages = iter([11, 3, 7, 0, 5, 9, 1, 8, 2, 10, 6, 4])
    for table, context in zip(tables, contexts, strict=True):
        for at in range(-(-int(context) // PAGE)):
            table[at] = next(pages)
    last = contexts - 1
    slots = (tables[np.arange(5), last // PAGE] * PAGE + last % PAGE).astype(np.int32)
    return PlannedRows(np.array([5, 900, 31, 8, 77]), last, contexts, tables, slots)


def _alone(model: GLM, cache: PagedKVCache, decodes: PlannedRows) -> torch.Tensor:
    """Hidden states of the decodes without a bucket."""
    batch = PackedBatch(
        positions=torch.from_numpy(decodes.positions).long(),
        cu_seqlens_q=torch.arange(6, dtype=torch.int32),
        context_lens=torch.from_numpy(decodes.context_lens),
        block_tables=torch.from_numpy(decodes.block_tables),
        slot_mapping=torch.from_numpy(decodes.slots).long(),
    )
    hidden: torch.Tensor = model(torch.from_numpy(decodes.ids), batch, cache)
    return hidden


def test_a_bucket_holds_its_count_and_little_more() -> None:
    assert [bucket_of(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 25, 33, 64, 97)] == [
        1, 2, 3, 4, 6, 6, 8, 12, 12, 16, 32, 48, 64, 128
    ]  # fmt: skip
    assert all(n <= bucket_of(n) and 3 * (bucket_of(n) - n) <= bucket_of(n) for n in range(1, 2_000))


@pytest.mark.parametrize("on_kernels", [False, True])
def test_decodes_in_a_bucket_equal_decodes_without(lm: LanguageModel, on_kernels: bool) -> None:
    model, decodes, sampling = (
        lm.model,
        _decodes(),
        SamplingColumns.of([DRAWN, SamplingParams()] * 2 + [DRAWN], [3] * 5),
    )
    cache, beside = _cache(model), _cache(model)
    with torch.inference_mode():
        hidden = _alone(model, cache, decodes)
        expected = sample(model.logits(hidden), *sampling.columns).tolist()
    seen: list[torch.Tensor] = []
    hook = model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with interpreted() if on_kernels else torch.inference_mode():
        chosen = DecodeForward(model, beside, PAGES).choose(decodes, sampling)
    hook.remove()
    assert len(seen[0]) == 6  # the bucket's
    assert_close(seen[0][:5], hidden, TOLERANCE["lm-batched"], "hidden rows")
    assert_close(beside.k[:, :PAGES], cache.k[:, :PAGES], TOLERANCE["lm-batched"], "keys")
    assert_close(beside.v[:, :PAGES], cache.v[:, :PAGES], TOLERANCE["lm-batched"], "values")
    assert chosen == expected


def test_answers_are_the_same_in_buckets(lm: LanguageModel) -> None:
    requests = [(list(range(9, 9 + length)), DRAWN) for length in (5, 30, 64, 1, 12)]
    answers = []
    for bucketed in (False, True):
        runner = LMRunner(lm.model, Settings(n_pages=16, page_size=16), bucketed=bucketed)
        runner.cache.k.fill_(torch.nan)
        runner.cache.v.fill_(torch.nan)
        answers.append(generate(runner, requests, lm.config.stop_ids))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("size", ["tiny", "9b"])
def test_the_forward_reads_nothing_back(size: str) -> None:
    with torch.device("meta"):
        model = GLM(SIZES[size].language_model)
    cache = PagedKVCache.allocate(model.config, 65, 64, "meta")
    forward = DecodeForward(model, cache, 64)
    buffers = forward.allocate((48, 8))
    with recorded() as launches:
        chosen = forward.forward(buffers)
    assert chosen.shape == (48,)
    ours = [name for name in launches if name.startswith("triton:")]
    assert sum(name.startswith("triton:_decode(48,") for name in ours) == model.config.layers
    assert sum(name.startswith("triton:_prefill") for name in ours) == 0


def test_a_value_that_is_read_back_is_told() -> None:
    with recorded(), pytest.raises(RuntimeError):
        torch.ones(3, device="meta").sum().item()
    with recorded(), pytest.raises(AssertionError, match="on cpu"):
        torch.tensor([3, 4]) + 1
