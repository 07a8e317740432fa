"""The models' stages at the published dimensions, with weights made on the card: timed after the operations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import nn

from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.flow import Flow
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.think.kv_cache import PAGE_SIZE, PackedBatch, PagedKVCache, bytes_per_token
from antiphon.engine.think.model import GLM
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
        cache = PagedKVCache.allocate(config, dialogues * pages, PAGE_SIZE, device, dtype)
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
        yield Stage(
            "LM step",
            f"{dialogues} dialogues of {context:,} positions",
            partial(_lm_step, model, ids, batch, cache),
            Cost(weights * dtype.itemsize + seen * bytes_per_token(config, dtype), 2 * weights * dialogues + attention),
        )


def _speaking(size: str, device: torch.device, dtype: torch.dtype) -> Iterator[Stage]:
    config = SIZES[size].decoder
    with unfilled():
        flow, vocoder = Flow(config.flow), HiFT(config.vocoder)
    _randomise(flow, device, dtype)
    _randomise(vocoder, device, torch.float32)
    vocoder.cast_filter(dtype)
    decoder = SpeechDecoder(flow, vocoder)
    for tokens in (10, 25, 200):
        for dialogues in (1, 8, 32):
            solve = partial(decoder.mel_batch, [[0] * tokens] * dialogues)
            yield Stage("flow", f"{tokens} tokens, {dialogues} dialogues", solve, None)
    pair = (torch.zeros(config.flow.mel_bins, _FRAMES), torch.zeros(_FRAMES * _HOP))
    for dialogues in (1, 8, 32):
        vocode = partial(decoder.vocode_batch, [pair] * dialogues)
        yield Stage("vocoder", f"{_FRAMES} frames, {dialogues} dialogues", vocode, None)


def _lm_step(model: GLM, ids: torch.Tensor, batch: PackedBatch, cache: PagedKVCache) -> torch.Tensor:
    """f32[B, vocab]: the logits that follow each dialogue's last id."""
    return model.logits(model(ids, batch, cache))


def _randomise(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    module.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.normal_(0.0, _DEVIATION)
