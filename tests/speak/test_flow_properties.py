"""What must hold of the flow whatever its weights: a batch is its members, solves may join, gradients flow."""

import dataclasses
import re

import pytest
import torch
import torch.nn.functional as F
from compare import assert_close
from flow_models import TINY_FLOW, official_flow_tensors, tiny_flow
from tolerances import TOLERANCE

from antiphon.engine.errors import CheckpointError, InputError, TokenError
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.length_regulator import nearest_rows
from antiphon.engine.speak.packing import Packing
from antiphon.engine.timeline import mel_frames_of
from antiphon.engine.weights.configs import FlowConfig
from antiphon.engine.weights.names import official_flow_name, rename_flow

BINS = TINY_FLOW.mel_bins


def _request(new: int, prompt: int = 0, prompt_frames: int = 0, speaker: bool = False, seed: int = 0) -> FlowRequest:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(TINY_FLOW.vocab_size, (prompt + new,), generator=generator).tolist()
    return FlowRequest(
        tokens[prompt:],
        prompt_tokens=tokens[:prompt],
        prompt_mel=torch.randn(BINS, prompt_frames, generator=generator) if prompt_frames else None,
        embedding=torch.randn(TINY_FLOW.speaker_dim, generator=generator) if speaker else None,
    )


# 20, 6, 27, 13, 55 and 20 frames: odd and even at each of the three rates, two alike; one prompt is short of its own
# tokens' frames, one is beyond them.
REQUESTS = [
    _request(3),
    _request(1, seed=1),
    _request(2, prompt=2, prompt_frames=9, seed=2),
    _request(2, speaker=True, seed=3),
    _request(5, prompt=3, prompt_frames=21, speaker=True, seed=4),
    _request(3, seed=5),
]


@torch.inference_mode()
def test_a_batch_is_its_members_in_any_order() -> None:
    flow = tiny_flow()
    alone = [flow.solve([request])[0] for request in REQUESTS]
    assert [mel.shape[1] for mel in alone] == [20, 6, 18, 13, 34, 20]
    for order in ([0, 1, 2, 3, 4, 5], [4, 2, 0, 5, 1, 3]):
        together = flow.solve([REQUESTS[i] for i in order])
        for mel, i in zip(together, order, strict=True):
            assert_close(mel, alone[i], TOLERANCE["flow-batch"], f"mel of request {i} in order {order}")


@torch.inference_mode()
def test_a_request_may_join_a_solve_under_way() -> None:
    flow = tiny_flow()
    (early,) = flow.start(REQUESTS[:1])
    (late,) = flow.start(REQUESTS[4:5])
    for _ in range(4):
        (early,) = flow.step([early])
    while not early.done:
        late, early = flow.step([late, early])
    while not late.done:
        (late,) = flow.step([late])
    for solve, i in ((early, 0), (late, 4)):
        assert_close(solve.mel, flow.solve([REQUESTS[i]])[0], TOLERANCE["flow-batch"], f"mel of request {i}")
    with pytest.raises(InputError, match="is done"):
        flow.step([early])


@torch.inference_mode()
def test_what_stays_the_same_along_a_solve_is_computed_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = tiny_flow()
    expected = flow.solve(REQUESTS[:2])
    solves = flow.start(REQUESTS[:2])
    for name in ("shifts", "of_conditions"):
        monkeypatch.setattr(flow.estimator, name, None)
    while not solves[0].done:
        solves = flow.step(solves)
    assert all(torch.equal(solve.mel, mel) for solve, mel in zip(solves, expected, strict=True))


@torch.inference_mode()
def test_the_encoder_sees_own_block_and_past_only() -> None:
    flow, block = tiny_flow(), TINY_FLOW.encoder_block
    packing = Packing.of([3 * block], flow.device)
    tokens = torch.zeros(3 * block, dtype=torch.long)
    changed = tokens.clone()
    changed[2 * block - 1] = 1  # the last of the second block
    differs = (flow.encode(tokens, packing) != flow.encode(changed, packing)).any(1)
    assert differs.tolist() == [False] * block + [True] * (2 * block)


def test_gradients_reach_every_parameter() -> None:
    flow = tiny_flow().train()
    given = flow.condition(REQUESTS[2:5])
    x = torch.randn(given.mu.shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.1, 0.5, 0.9])
    flow.velocity(x, t, given.mu, given.cond, given.speaker, given.frames).square().mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # The keys' bias moves all scores of a query alike, and softmax does not see it.
        assert parameter.grad.any() or name.endswith("linear_k.bias"), name


def test_dropout_is_for_training_alone() -> None:
    flow = tiny_flow()
    tokens, packing = torch.arange(6), Packing.of([6], flow.device)
    assert torch.equal(flow.encode(tokens, packing), flow.encode(tokens, packing))
    flow.train()
    assert not torch.equal(flow.encode(tokens, packing), flow.encode(tokens, packing))


def test_nearest_rows_are_those_of_torch() -> None:
    token_counts = [1, 2, 7, 25, 76, 333, 3392]
    frame_counts = [int(mel_frames_of(count)) for count in token_counts]
    device = torch.device("cpu")
    packed = nearest_rows(Packing.of(token_counts, device), Packing.of(frame_counts, device))
    first = 0
    for count, frames, rows in zip(token_counts, frame_counts, packed.split(frame_counts), strict=True):
        values = torch.arange(count, dtype=torch.float32)  # the dtype decides how torch rounds the positions
        expected = F.interpolate(values[None, None], size=frames, mode="nearest")[0, 0]
        assert torch.equal(rows - first, expected.long()), f"{count} tokens to {frames} frames"
        first += count


def test_frame_counts_round_as_the_official_float32() -> None:
    counts = torch.arange(1, 5000)
    official = (counts / 12.5 * 22050 / 256).int()
    assert [mel_frames_of(int(count)) for count in counts] == official.tolist()
    exact = counts * 441 // 64
    assert counts[official != exact].tolist() == [3392, 3776, 4160]


def test_names_of_the_full_model() -> None:
    with torch.device("meta"):
        flow = Flow(FlowConfig())
    state = flow.state_dict()
    assert len(state) == 1185
    assert sum(tensor.numel() for tensor in state.values()) == 111_166_208
    official = [official_flow_name(name) for name in state]
    assert [rename_flow(name) for name in official] == list(state)
    for kind, count in {"attn1.to_q.weight": 64, "down_blocks.0.2.conv.weight": 1, "res_conv.weight": 16}.items():
        assert sum(name.endswith(kind) for name in official) == count


def test_official_names_come_back() -> None:
    for name in official_flow_tensors():
        assert official_flow_name(rename_flow(name)) == name


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        (FlowRequest([]), TokenError, "no speech tokens; expected at least one"),
        (FlowRequest([3, 32]), TokenError, "speech token 32 is outside the flow's vocabulary; expected 0 to 31"),
        (FlowRequest([3], prompt_tokens=[-1]), TokenError, "speech token -1 is outside"),
        (
            FlowRequest([3], prompt_mel=torch.zeros(3, 4)),
            InputError,
            "prompt_mel has shape [3, 4]; expected [8, frames]",
        ),
        (FlowRequest([3], prompt_mel=torch.zeros(8, 7)), InputError, "prompt_mel has 7 frames"),
        (FlowRequest([3], embedding=torch.zeros(4)), InputError, "embedding has shape [4]; expected [5]"),
        (FlowRequest([3], noise=torch.zeros(8, 5)), InputError, "noise has shape [8, 5]; expected [8, 6]"),
    ],
)
def test_refusals_name_what_was_given(request_: FlowRequest, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        tiny_flow().start([request_])


def test_a_config_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(CheckpointError, match="takes 33 channels; expected 32"):
        Flow(dataclasses.replace(TINY_FLOW, estimator_in=33))
