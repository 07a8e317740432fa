"""The speaking models on the kernels, in Triton's interpreter, against the same models on torch."""

import torch
from compare import assert_close
from flow_models import tiny_flow
from interpreter import interpreted
from tolerances import TOLERANCE
from vocoders import ODD

from antiphon.engine.speak.flow import FlowRequest
from antiphon.engine.speak.vocoder import HiFT


def test_vocoder() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vocoder = HiFT(ODD).eval().requires_grad_(False)
        mel, source = torch.randn(6, ODD.mel_bins), torch.randn(6 * ODD.hop) * 0.1
    cu_seqlens = torch.tensor([0, 3, 4, 6], dtype=torch.int32)
    with torch.inference_mode():
        f0, wave = vocoder.f0_predictor(mel, cu_seqlens), vocoder(mel, source, cu_seqlens)
    with interpreted("sm_90"):
        assert_close(vocoder.f0_predictor(mel, cu_seqlens), f0, TOLERANCE["f0"], "f0")
        assert_close(vocoder(mel, source, cu_seqlens), wave, TOLERANCE["wave-from-mel"], "wave")


def test_flow() -> None:
    flow = tiny_flow().requires_grad_(False)
    requests = [FlowRequest([3, 1]), FlowRequest([1])]
    with torch.inference_mode():
        expected = flow.step(flow.start(requests))
    with interpreted("sm_90"):
        solves = flow.step(flow.start(requests))
    for solve, wanted in zip(solves, expected, strict=True):
        assert_close(solve.x, wanted.x, TOLERANCE["velocity"], "x after a step")
