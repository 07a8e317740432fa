"""The models' stages at the published dimensions, with weights made on the card: timed after the operations.

"… in buckets" is what serving runs with ANTIPHON_GRAPHS=on: inputs written into a bucket's buffers, its CUDA graph
replayed, results taken out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import nn

from antiphon.engine.speak.chunks import Steps
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.flow_buckets import BucketedFlow
from antiphon.engine.speak.reach import FilterSpans, Span
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.speak.vocoder_buckets import BucketedVocoder
from antiphon.engine.speak.vocoder_window import FilterWindow
from antiphon.engine.think.decode import DecodeForward, PlannedRows
from antiphon.engine.think.kv_cache import PAGE_SIZE, PackedBatch, PagedKVCache, bytes_per_token
from antiphon.engine.think.model import GLM
from antiphon.engine.think.sampling import SamplingColumns, SamplingParams
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.generate.sizes import SIZES
from antiphon.kernels.costs import Cost

CONTEXT: Final = 1_000  # positions that each dialogue's LM step sees
_DEVIATION: Final = 0.02  # of random weights: no stage overflows
_FRAMES: Final = 138  # of a first chunk
_HOP: Final = 256  # wave samples of a frame


@dataclass(frozen=True)
class Stage:
    """One forward of a stage."""

    name: str
    case: str
    run: Callable[[], object]
    cost: Cost | None  # None: no floor is known


def stages(size: str, device: torch.device, dtype: torch.dtype, context: int = CONTEXT) -> Iterator[Stage]:
    """LM steps, flow solves and vocoding, for growing numbers of dialogues."""
    yield from _lm_steps(size, device, dtype, context)
    yield from _speaking(size, device, dtype)


def _lm_steps(size: str, device: torch.device, dtype: torch.dtype, context: int) -> Iterator[Stage]:
    config = SIZES[size].language_model
    with unfilled():
        model = GLM(config)
    _randomise(model, device, dtype)
    weights = sum(parameter.numel() for parameter in model.parameters()) - config.vocab_size * config.hidden
    for dialogues in (1, 16, 64, 256):
        pages = -(-context // PAGE_SIZE)
        cache = PagedKVCache.allocate(config, dialogues * pages + 1, PAGE_SIZE, device, dtype)
        table = torch.arange(dialogues * pages, dtype=torch.int32, device=device).view(dialogues, pages)
        last = context - 1
        batch = PackedBatch(
            positions=torch.full((dialogues,), last, device=device),
            cu_seqlens_q=torch.arange(dialogues + 1, dtype=torch.int32, device=device),
            context_lens=torch.full((dialogues,), context, dtype=torch.int32, device=device),
            block_tables=table,
            slot_mapping=table[:, last // PAGE_SIZE].long() * PAGE_SIZE + last % PAGE_SIZE,
        )
        ids = torch.zeros(dialogues, dtype=torch.int64, device=device)
        cache.k.zero_()
        cache.v.zero_()
        seen = dialogues * context
        attention = 4 * seen * config.layers * config.heads * config.head_dim
        case = f"{dialogues} dialogues of {context:,} positions"
        cost = Cost(
            weights * dtype.itemsize + seen * bytes_per_token(config, dtype), 2 * weights * dialogues + attention
        )
        yield Stage("LM step", case, partial(_lm_step, model, ids, batch, cache), cost)
        planned = PlannedRows(
            ids.cpu().numpy(),
            batch.positions.int().cpu().numpy(),
            batch.context_lens.cpu().numpy(),
            table.cpu().numpy(),
            batch.slot_mapping.int().cpu().numpy(),
        )
        sampling = SamplingColumns.of([SamplingParams(temperature=0.2, top_p=0.8, seed=0)] * dialogues, [0] * dialogues)
        decodes = DecodeForward(model, cache, spare_page=dialogues * pages)
        yield Stage("LM step in buckets", case, partial(decodes.choose, planned, sampling), cost)


def _speaking(size: str, device: torch.device, dtype: torch.dtype) -> Iterator[Stage]:
    config = SIZES[size].decoder
    with unfilled():
        flow, vocoder = Flow(config.flow), HiFT(config.vocoder)
    _randomise(flow, device, dtype)
    _randomise(vocoder, device, torch.float32)
    vocoder.cast_filter(dtype)
    decoder = SpeechDecoder(flow, vocoder)
    buckets = BucketedFlow(flow)
    for tokens in (10, 25, 200):
        for dialogues in (1, 8, 32):
            case, requests = f"{tokens} tokens, {dialogues} dialogues", [FlowRequest([0] * tokens)] * dialogues
            yield Stage("flow", case, partial(_solve, flow, flow, requests), None)
            yield Stage("flow in buckets", case, partial(_solve, flow, buckets, requests), None)
    pair = (torch.zeros(config.flow.mel_bins, _FRAMES), torch.zeros(_FRAMES * _HOP))
    spans = FilterSpans.of(vocoder.config, Span(0, _FRAMES * _HOP), _FRAMES)
    window = FilterWindow(
        spans, torch.zeros(_FRAMES, config.flow.mel_bins, device=device), torch.zeros(_FRAMES * _HOP, device=device)
    )
    passes = BucketedVocoder(vocoder)
    for dialogues in (1, 8, 32):
        case = f"{_FRAMES} frames, {dialogues} dialogues"
        yield Stage("vocoder", case, partial(decoder.vocode_batch, [pair] * dialogues), None)
        yield Stage("vocoder in buckets", case, partial(passes.waves, [window] * dialogues), None)


def _lm_step(model: GLM, ids: torch.Tensor, batch: PackedBatch, cache: PagedKVCache) -> torch.Tensor:
    """f32[B, vocab]: the logits that follow each dialogue's last id."""
    return model.logits(model(ids, batch, cache))


def _solve(flow: Flow, steps: Steps, requests: Sequence[FlowRequest]) -> list[torch.Tensor]:
    """The mels of a whole solve."""
    solves = flow.start(requests)
    while not solves[0].done:
        solves = steps.step(solves)
    return [solve.mel for solve in solves]


def _randomise(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(0.0, _DEVIATION)
