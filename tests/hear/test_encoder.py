"""The encoder's layers, and a segment encoded a few blocks at a time."""

import numpy as np
import pytest
import torch
from compare import assert_close
from goldens import golden
from safetensors import safe_open
from speech_tokenizers import BLOCKS, clip, tokenizer
from tolerances import TOLERANCE

from antiphon.engine.hear.encoder import SpeechEncoder, stem_context
from antiphon.engine.hear.requests import EncodeRequest


def _request(block: int, name: str) -> EncodeRequest:
    [request] = tokenizer(block).requests_of(*clip(name))
    return request


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("name", ["short_0p3s", "en_speech", "one_sample"])
def test_layers_equal_the_official_ones(block: int, name: str) -> None:
    encoder = tokenizer(block).encoder
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        encoder.layers[0].register_forward_pre_hook(lambda _, args: seen.update(layer0_in=args[0])),
        encoder.layers[0].register_forward_hook(lambda _, args, out: seen.update(layer0_out=out[0])),
        encoder.layers[1].register_forward_hook(lambda _, args, out: seen.update(layer1_out=out[0])),
    ]
    tokenizer(block).run([_request(block, name)])
    for hook in hooks:
        hook.remove()
    with np.load(golden(f"speech_tokenizer/block{block}/intermediates.npz")) as official:
        for layer, output in seen.items():
            assert_close(output, official[f"{name}/{layer}"][0], TOLERANCE["tokenizer-hidden"], layer)


@pytest.mark.parametrize("cuts", [[20], [40, 60, 100], [20, 120]])
def test_a_segment_in_runs_of_blocks_equals_the_whole(cuts: list[int]) -> None:
    whole = _request(20, "en_speech")
    hidden, past, start = [], None, 0
    for stop in [*cuts, whole.span.frames]:
        rows = whole.features[2 * start - stem_context(start) : 2 * stop]
        heard = min(stop, whole.heard_frames) - start
        [result] = tokenizer(20).run([EncodeRequest(rows, start, heard, past, keep=True)])
        hidden.append(result.hidden)
        assert result.cache is not None and result.cache.frames == start + heard
        past, start = result.cache, stop
    [expected] = tokenizer(20).run([whole])
    assert_close(torch.cat(hidden), expected.hidden, 2e-5)


def test_parameters_are_those_of_the_file() -> None:
    with torch.device("meta"):
        encoder = SpeechEncoder(tokenizer(20).config)
    with safe_open(golden("speech_tokenizer/block20/model.safetensors"), framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    assert {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()} == shapes


def test_gradients_reach_every_trained_parameter() -> None:
    encoder = tokenizer(20).encoder
    trained = {
        name: parameter
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad and not name.startswith("embed_positions2")
    }
    request = _request(20, "short_0p3s")
    hidden, _ = encoder(torch.from_numpy(request.features), [request.span])
    gradients = torch.autograd.grad(hidden.square().sum(), list(trained.values()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)
