"""Euler steps in buckets: solves of nobody change nothing, and the forward reads nothing back."""

import random
from dataclasses import replace

import pytest
import torch
from compare import assert_close
from flow_models import TINY_FLOW, tiny_flow
from interpreter import interpreted
from launches import recorded
from tolerances import TOLERANCE

from antiphon.engine.errors import InputError
from antiphon.engine.speak import flow_buckets
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.flow_buckets import Bucket, BucketedFlow
from antiphon.engine.weights.configs import FlowConfig

REQUESTS = [FlowRequest([3, 1, 7, 30]), FlowRequest([1]), FlowRequest([9, 9, 2, 4, 5, 6, 7])]


def test_a_bucket_holds_whatever_it_was_chosen_for() -> None:
    drawn = random.Random(0)
    for n_rates in (1, 2, 3):
        for _ in range(300):
            lengths = [drawn.randint(1, drawn.choice((8, 200, 900))) for _ in range(drawn.randint(1, 40))]
            bucket = Bucket.of(lengths, n_rates)
            starts, of_rates = bucket.offsets(lengths)
            assert starts[: len(lengths) + 1] == [sum(lengths[:i]) for i in range(len(lengths) + 1)]
            assert len(starts) == bucket.solves + 1 and starts[-1] == bucket.rows
            halved = [length for length in bucket.filled(lengths) for _ in range(2)]
            for offsets, (rows, longest) in zip(of_rates, bucket.sizes, strict=True):
                own = [end - begin for begin, end in zip(offsets, offsets[1:], strict=False)]
                assert own[:-1] == halved[:-1] and own[-1] >= halved[-1] >= 1 and offsets[-1] == rows
                assert max(own) <= longest
                halved = [(length + 1) // 2 for length in own]


def test_lengths_that_differ_little_share_a_bucket() -> None:
    assert Bucket.of([172] * 3, 2) == Bucket.of([150, 180, 190], 2)
    assert Bucket.of([172], 2) == Bucket(solves=2, rows=192, longest=192, n_rates=2)


@torch.inference_mode()
def test_solves_in_buckets_equal_solves_without() -> None:
    flow = tiny_flow()
    expected = flow.solve(REQUESTS)
    bucketed = BucketedFlow(flow)
    (early,) = flow.start(REQUESTS[:1])
    (early,) = bucketed.step([early])
    solves = [early, *flow.start(REQUESTS[1:])]  # at steps of their own
    while not all(solve.done for solve in solves):
        going = iter(bucketed.step([solve for solve in solves if not solve.done]))
        solves = [solve if solve.done else next(going) for solve in solves]
    for solve, mel in zip(solves, expected, strict=True):
        assert_close(solve.mel, mel, TOLERANCE["flow-batch"], "mel")
    with pytest.raises(InputError, match="is done"):
        bucketed.step(solves)
    assert bucketed.step([]) == []


def test_a_step_in_a_bucket_on_the_kernels_equals_one_without_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_buckets, "_LEAST_ROWS", 1)  # the interpreter takes its time
    with torch.random.fork_rng():
        torch.manual_seed(5)
        flow = Flow(replace(TINY_FLOW, estimator_channels=(8, 16))).eval().requires_grad_(False)
    with torch.inference_mode():
        solves = flow.start([FlowRequest([1])])
        [without] = flow.step(solves)
    with interpreted("sm_90"):
        [inside] = BucketedFlow(flow).step(solves)
    assert_close(inside.x, without.x, TOLERANCE["velocity"], "x after a step")


@pytest.mark.parametrize("config", [TINY_FLOW, FlowConfig()], ids=["tiny", "official"])
def test_the_step_reads_nothing_back(config: FlowConfig) -> None:
    with torch.device("meta"):
        flow = Flow(config).eval().requires_grad_(False)
    inputs = BucketedFlow(flow).allocate(Bucket.of([172, 172, 90], flow.estimator.n_rates))
    with recorded() as launches:
        x = flow.euler_step(inputs)
    assert x.shape == inputs.x.shape
    assert sum(name.startswith("triton:_guided_euler_step") for name in launches) == 1
