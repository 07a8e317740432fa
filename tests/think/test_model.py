"""The GLM stack on packed batches, without a cache."""

import json

import numpy as np
import torch
from compare import assert_close
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.think.kv_cache import PackedBatch
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.weights.configs import LanguageModelConfig


def test_each_layer_equals_the_official_one(lm: LanguageModel) -> None:
    prompt = json.loads(golden("lm/expected.json").read_text())["prompts"]["short_text"]["prompt"]
    hidden: list[torch.Tensor] = []
    transformer = lm.model.transformer
    hooks = [  # a layer leaves its last sum to the next one's norm
        module.register_forward_hook(lambda module, inputs, output: hidden.append(_stream(output)))
        for module in (transformer.embedding.word_embeddings, *transformer.encoder.layers)
    ]
    lm.logits(prompt)
    for hook in hooks:
        hook.remove()
    with np.load(golden("lm/expected_hidden.npz")) as expected:
        assert len(hidden) == len(expected.files) == 5
        for index, actual in enumerate(hidden):
            assert_close(actual, expected[f"short_text/hidden_{index}"], TOLERANCE["lm-hidden"], f"hidden_{index}")


def _stream(output: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0] + output[1]


def test_a_packed_batch_equals_its_sequences_alone(lm: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(1024, (length,), generator=generator) for length in (1, 40, 7, 2)]
    with torch.inference_mode():
        packed = lm.model(torch.cat(prompts), PackedBatch.whole([len(ids) for ids in prompts]))
        alone = [lm.model(ids, PackedBatch.whole([len(ids)])) for ids in prompts]
    assert_close(packed, torch.cat(alone), TOLERANCE["lm-batched"])


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    model = GLM(LanguageModelConfig(layers=2, hidden=16, heads=4, kv_heads=2, head_dim=8, ffn=24, vocab_size=32))
    ids = torch.arange(32)
    hidden = model(ids, PackedBatch.whole([20, 12]))
    torch.nn.functional.cross_entropy(model.logits(hidden), ids.roll(-1)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_the_full_size_model_has_the_published_tensors() -> None:
    with torch.device("meta"):
        model = GLM(LanguageModelConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_542_557_696
    assert len(model.state_dict()) == 283  # 40 layers of 7 tensors, embedding, final norm, head
