"""The models' parts on the Triton backend, in the interpreter, beside torch: every operation takes what the parts give.

The sizes are smaller than the parity data's, where the interpreter would take minutes.
"""

import torch
from compare import assert_close
from interpreter import interpreted
from tolerances import TOLERANCE

from antiphon.engine.speak.flow_blocks import TransformerBlock
from antiphon.engine.speak.flow_encoder import BlockConformerEncoder
from antiphon.engine.speak.packing import Packing
from antiphon.engine.think.kv_cache import PackedBatch, PagedKVCache
from antiphon.engine.think.model import GLM
from antiphon.engine.weights.configs import FlowConfig, LanguageModelConfig

LM = LanguageModelConfig(layers=2, hidden=16, heads=4, kv_heads=2, head_dim=8, ffn=24, vocab_size=32)


def _batch(lengths: list[int], contexts: list[int]) -> PackedBatch:
    """Sequences' last positions, over three pages of 16 each."""
    ranges = [range(context - length, context) for length, context in zip(lengths, contexts, strict=True)]
    tables = torch.randperm(3 * len(lengths), generator=torch.Generator().manual_seed(0)).view(-1, 3).int()
    slots = [int(tables[s, p // 16]) * 16 + p % 16 for s, positions in enumerate(ranges) for p in positions]
    return PackedBatch(
        positions=torch.tensor([p for positions in ranges for p in positions]),
        cu_seqlens_q=torch.tensor([0, *lengths]).cumsum(0).int(),
        context_lens=torch.tensor(contexts, dtype=torch.int32),
        block_tables=tables,
        slot_mapping=torch.tensor(slots),
    )


def _prefill_and_step(model: GLM, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    cache = PagedKVCache.allocate(LM, n_pages=6, page_size=16)
    cache.k.fill_(torch.nan)
    cache.v.fill_(torch.nan)
    prompts = model(ids, _batch([36, 1], [36, 1]), cache)
    return prompts, model(ids[:2], _batch([1, 1], [37, 2]), cache)


@torch.inference_mode()
def test_the_language_model_over_its_cache() -> None:
    torch.manual_seed(0)
    model, ids = GLM(LM).eval(), torch.arange(37) % 32
    expected = _prefill_and_step(model, ids)
    with interpreted():
        actual = _prefill_and_step(model, ids)
    for hidden, wanted in zip(actual, expected, strict=True):
        assert_close(hidden, wanted, TOLERANCE["lm-batched"])


@torch.inference_mode()
def test_the_language_model_without_a_cache() -> None:
    torch.manual_seed(0)
    model, ids = GLM(LM).eval(), torch.arange(12)
    expected = model(ids, PackedBatch.whole([9, 3]))
    with interpreted():
        assert_close(model(ids, PackedBatch.whole([9, 3])), expected, TOLERANCE["lm-batched"])


@torch.inference_mode()
def test_the_flow_s_attentions() -> None:
    torch.manual_seed(0)
    config = FlowConfig(input_size=16, encoder_size=16, encoder_heads=2, encoder_ffn=32, encoder_layers=1)
    encoder, block = BlockConformerEncoder(config).eval(), TransformerBlock(16, heads=2, head_dim=8).eval()
    packing, x = Packing.of([11, 3], torch.device("cpu")), torch.randn(14, 16)
    encoded, transformed = encoder(x, packing), block(x, packing)
    with interpreted():
        assert_close(encoder(x, packing), encoded, TOLERANCE["flow-batch"])
        assert_close(block(x, packing), transformed, TOLERANCE["flow-batch"])
