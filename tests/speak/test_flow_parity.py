"""The flow's parts against the official ones, at every place the goldens look into."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from compare import assert_close
from flow_models import golden_flow
from goldens import golden
from tolerances import TOLERANCE

from antiphon.engine.speak.flow import FlowRequest
from antiphon.engine.speak.flow_encoder import relative_positions
from antiphon.engine.speak.noise import cosine_grid, euler_grid, official_noise
from antiphon.engine.speak.packing import Packing


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("case", ["n1", "n10", "n26", "n50"])
def test_one_call(case: str) -> None:
    flow, data = golden_flow(), np.load(golden("decoder/oneshot.npz"))
    tokens = torch.from_numpy(data[f"{case}/token"])
    h = flow.encode(tokens, Packing.of([len(tokens)], flow.device))
    assert_close(h, data[f"{case}/h"], TOLERANCE["mu"], "h")
    conditioning = flow.condition([FlowRequest(tokens)])
    assert_close(conditioning.mu, data[f"{case}/mu"], TOLERANCE["mu"], "mu")
    assert_close(conditioning.speaker[0], data["spks"], TOLERANCE["mu"], "speaker")
    (mel,) = flow.solve([FlowRequest(tokens)])
    assert_close(mel, data[f"{case}/mel"], TOLERANCE["mel"], "mel")


def test_every_layer_of_the_encoder() -> None:
    flow, data = golden_flow(), np.load(golden("decoder/encoder_layers.npz"))
    tokens = torch.from_numpy(data["token"])
    packing = Packing.of([len(tokens)], flow.device)
    encoder = flow.encoder
    x = encoder.embed(flow.token_embedding(tokens))
    assert_close(x, data["embed_out"], TOLERANCE["mu"], "embed_out")
    x = x * encoder.size**0.5
    positions = relative_positions(packing.max_length, encoder.size, flow.device)
    for i, layer in enumerate(encoder.layers):
        x = layer(x, positions, packing)
        assert_close(x, data[f"layer{i}"], TOLERANCE["mu"], f"layer{i}")
    assert_close(flow.encode(tokens, packing), data["h"], TOLERANCE["mu"], "h")


def test_every_euler_step() -> None:
    flow, data = golden_flow(), np.load(golden("decoder/euler_steps.npz"))
    times, _ = euler_grid()
    assert_close(np.array(times), data["t"], 1e-7, "t")
    mu, speaker = torch.from_numpy(data["mu"]), torch.from_numpy(data["spks"])
    packing = Packing.of([len(mu)] * 2, flow.device)
    (solve,) = flow.start([FlowRequest(data["token"].tolist())])
    assert_close(flow.condition([FlowRequest(data["token"].tolist())]).mu, mu, TOLERANCE["mu"], "mu")
    for i in range(len(times)):
        x = torch.from_numpy(data["x_before_step"][i])
        assert_close(solve.x.t(), x, TOLERANCE["mel"], f"x before step {i}")
        velocity = flow.velocity(
            torch.cat([x.t()] * 2),
            torch.tensor([times[i]] * 2),
            mu=torch.cat([mu, torch.zeros_like(mu)]),
            cond=torch.zeros(packing.rows, mu.shape[1]),
            speaker=torch.stack([speaker, torch.zeros_like(speaker)]),
            packing=packing,
        )
        conditional, unconditional = velocity.view(2, *mu.shape).transpose(1, 2)
        assert_close(conditional, data["v_cond"][i], TOLERANCE["velocity"], f"v_cond of step {i}")
        assert_close(unconditional, data["v_uncond"][i], TOLERANCE["velocity"], f"v_uncond of step {i}")
        (solve,) = flow.step([solve])
    assert solve.done
    assert_close(solve.mel, data["mel"], TOLERANCE["mel"], "mel")


def test_prompt_shorter_than_its_tokens_and_a_speaker() -> None:
    flow, data = golden_flow(), np.load(golden("decoder/prompted.npz"))
    request = FlowRequest(
        data["token"].tolist(),
        prompt_tokens=data["prompt_token"].tolist(),
        prompt_mel=torch.from_numpy(data["prompt_feat"].T),
        embedding=torch.from_numpy(data["embedding"]),
    )
    conditioning = flow.condition([request])
    assert_close(conditioning.mu, data["mu"], TOLERANCE["mu"], "mu")
    assert_close(conditioning.speaker[0], data["spks"], TOLERANCE["mu"], "speaker")
    assert_close(flow.solve([request])[0], data["mel"], TOLERANCE["mel"], "mel")


@pytest.mark.parametrize("stream", ["stream_web_demo_short", "stream_block"])
def test_the_last_chunk_of_a_stream_has_all_before_it_as_prompt(stream: str) -> None:
    flow, data = golden_flow(), np.load(golden(f"decoder/{stream}.npz"))
    chunks = [key.removesuffix("/token") for key in data.files if key.endswith("/token")]
    *before, last = chunks
    request = FlowRequest(
        data[f"{last}/token"].tolist(),
        prompt_tokens=np.concatenate([data[f"{chunk}/token"].ravel() for chunk in before]).tolist(),
        prompt_mel=torch.from_numpy(np.concatenate([data[f"{chunk}/mel"] for chunk in before], axis=1)),
    )
    assert_close(flow.condition([request]).mu, data[f"{last}/mu"], TOLERANCE["mu"], "mu")
    assert_close(flow.solve([request])[0], data[f"{last}/flow_mel"], TOLERANCE["mel"], "flow_mel")


def test_times_and_noise() -> None:
    assert_close(cosine_grid(), np.load(golden("decoder/oneshot.npz"))["t_span"], 1e-7, "t_span")
    flat = np.load(golden("decoder/noise_seed42.npy"))
    for frames in (1, 6, 68, 179, len(flat) // 80):
        np.testing.assert_array_equal(official_noise(frames).numpy(), flat[: 80 * frames].reshape(80, frames))


def test_noise_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    official_noise(7)
    assert torch.equal(torch.get_rng_state(), before)
