"""A random speech decoder that is neither silent nor clipped: what it speaks is noise with a wandering pitch."""

import math
from typing import Final

import torch
from torch import nn

from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.packing import Packing
from antiphon.engine.speak.source import official_randomness
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.weights.configs import DecoderConfig
from antiphon.engine.weights.convert import StateDict, official_flow_state, official_vocoder_state
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.generate.randomness import generator

_WAVE_DEVIATION: Final = 0.08  # of full scale 1
_PITCH: Final = 160.0  # Hz
_PITCH_DEVIATION: Final = 25.0  # Hz
_POSITIVE: Final = 1_000.0  # Hz
_MAGNITUDE_GAIN: Final = 0.3  # deviation of the spectrum's log magnitudes, which grow exponentially
_QUIET: Final = -3.0  # of the same, before loudness is measured
_VELOCITY_DEVIATION: Final = 1.0
_TRIAL_TOKENS: Final = 24  # spoken once to set the levels
_SMALL: Final = ("convs2", "linear_out", "to_out", "w_2")  # what is added to a stream: half a unit


@torch.inference_mode()
def random_decoder(config: DecoderConfig, seed: int) -> tuple[StateDict, StateDict]:
    """The state dicts of `flow.pt` and `hift.pt` under their official names, weight norm included."""
    with unfilled():
        flow, vocoder = Flow(config.flow), HiFT(config.vocoder)
    for module in (flow, vocoder):
        module.to_empty(device="cpu").eval()
        _randomise(module, seed)
    _set_levels(SpeechDecoder(flow, vocoder), seed)
    spoken = official_vocoder_state(vocoder.state_dict())
    for name, tensor in spoken.items():
        if name.endswith(".weight_v"):  # whose length is arbitrary, as it is after training
            tensor *= 0.5 + torch.rand(len(tensor), *(1 for _ in tensor.shape[1:]), generator=generator(seed, name))
    return official_flow_state(flow.state_dict()), spoken


def _randomise(module: nn.Module, seed: int) -> None:
    """Fill every parameter with noise that keeps a stream of unit variance at unit variance."""
    kind = type(module).__name__
    for name, tensor in module.state_dict().items():
        tensor.normal_(generator=generator(seed, f"{kind}.{name}"))
        parts = name.split(".")
        if "embedding" in parts[0]:
            continue
        if tensor.ndim == 1 or parts[-1].startswith("pos_bias"):
            tensor *= 0.1
            if parts[-1] in ("weight", "alpha"):  # of a norm, or a Snake's rate
                tensor += 1.0
        elif parts[0] == "ups":  # transposed [in, out, kernel]: each sample sums kernel / stride taps, here two
            tensor *= (2 * tensor.shape[0]) ** -0.5
        else:
            gain = 0.5 if any(part in _SMALL for part in parts) else 1.0
            tensor *= gain * math.prod(tensor.shape[1:]) ** -0.5


def _set_levels(decoder: SpeechDecoder, seed: int) -> None:
    """Speak a little, and set velocity, pitch and loudness to what they should be."""
    flow, vocoder = decoder.flow, decoder.vocoder
    random = generator(seed, "trial")
    tokens = torch.randint(flow.config.vocab_size, (_TRIAL_TOKENS,), generator=random).tolist()

    before = flow.start([FlowRequest(tokens)])
    after = flow.step(before)
    velocity = (after[0].x - before[0].x) / flow.step_sizes[0]
    for tensor in flow.estimator.final_proj.parameters():
        tensor.mul_(_rounded(_VELOCITY_DEVIATION / float(velocity.std())))
    mel = decoder.mel(tokens)

    classifier = vocoder.f0_predictor.classifier
    classifier.bias.fill_(_POSITIVE)  # what comes out is never negative: keep well clear of 0 to see it as it is
    pitch = torch.from_numpy(decoder.f0(mel)) - _POSITIVE
    spread = _rounded(_PITCH_DEVIATION / float(pitch.std()))
    classifier.weight *= spread
    classifier.bias.fill_(_rounded(_PITCH - spread * float(pitch.mean())))

    source = _source(vocoder, torch.from_numpy(decoder.f0(mel)))
    magnitudes = vocoder.config.istft_n_fft // 2 + 1  # the first rows of the last layer, as logarithms
    vocoder.conv_post.weight[:magnitudes] *= _MAGNITUDE_GAIN
    vocoder.conv_post.bias[:magnitudes] = _QUIET
    loudness = float(decoder.vocode(mel, source).std())
    vocoder.conv_post.bias[:magnitudes] += _rounded(math.log(_WAVE_DEVIATION / loudness))


def _source(vocoder: HiFT, f0: torch.Tensor) -> torch.Tensor:
    """f32[samples]: the source that the official code draws for one chunk."""
    frames = len(f0)
    random = official_randomness(frames, frames, vocoder.config)
    source: torch.Tensor = vocoder.m_source(
        f0, random.phase[None], random.noise, Packing.of([frames], f0.device).cu_seqlens
    )
    return source


def _rounded(value: float) -> float:
    """To three digits: levels that were measured must not depend on how a machine rounds."""
    return float(f"{value:.2e}")
