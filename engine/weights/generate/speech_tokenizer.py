"""A random speech tokenizer whose codebook lies where its encoder's vectors lie, so that speech gives varied ids."""

import math
from typing import Final

import numpy as np
import torch

from antiphon.engine.hear.encoder import SpeechEncoder
from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.types import Float32Array
from antiphon.engine.units import MODEL_INPUT_RATE
from antiphon.engine.weights.configs import SpeechTokenizerConfig
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.generate.randomness import generator
from antiphon.engine.weights.writer import PlannedTensor

_STEM_GAIN: Final = 2.0  # sound must outweigh the positions that are added to it
_LAYER_GAIN: Final = 0.7  # of what each part adds to a stream of unit variance, over all layers together
_SYLLABLES: Final = 4.0  # a second, of the sound that stands for speech
_CLIPS: Final = 10
_CLIP_SECONDS: Final = 4
_MIX: Final = 0.5  # how far at most a code lies from one vector towards another


def planned_speech_tokenizer(config: SpeechTokenizerConfig, seed: int) -> list[PlannedTensor]:
    """The tensors of `model.safetensors` under their official names."""
    encoder = random_encoder(config, seed)
    return [PlannedTensor.of(name, tensor) for name, tensor in encoder.state_dict().items()]


@torch.inference_mode()
def random_encoder(config: SpeechTokenizerConfig, seed: int) -> SpeechEncoder:
    """An encoder with its codebook, in eval mode."""
    with unfilled():
        encoder = SpeechEncoder(config)
    encoder.to_empty(device="cpu").eval()
    for name, tensor in encoder.state_dict().items():
        tensor.normal_(generator=generator(seed, name))
        _scale(name, tensor, config.layers)
    positions = sinusoids(config.max_positions, config.d_model)
    encoder.embed_positions.weight.copy_(positions)
    encoder.embed_positions2.weight.copy_(positions[: len(encoder.embed_positions2.weight)])
    random = np.random.default_rng(seed)
    tokenizer = SpeechTokenizer(encoder)
    clips = np.concatenate([tokenizer.hidden(_babble(random), MODEL_INPUT_RATE) for _ in range(_CLIPS)])
    codebook = _codes_like(torch.from_numpy(clips), config.codebook_size, generator(seed, "codebook"))
    encoder.codebook.weight.copy_(codebook)
    if config.ema_decay is not None:
        encoder.get_buffer("ema_count").fill_(1.0)
        encoder.get_buffer("ema_weight").copy_(codebook)
    return encoder


def _scale(name: str, tensor: torch.Tensor, layers: int) -> None:
    """Unit noise, in place, to what the parameter `name` needs."""
    kind = name.split(".")[-2] if "." in name else name
    if name.endswith("bias"):
        tensor *= 0.1
    elif kind.endswith("layer_norm"):
        tensor.mul_(0.1).add_(1.0)
    else:
        gain = _STEM_GAIN if kind in ("conv1", "conv2") else 1.0
        if kind in ("out_proj", "fc2"):
            gain = _LAYER_GAIN * (2.0 / layers) ** 0.5
        tensor *= gain * math.prod(tensor.shape[1:]) ** -0.5


def sinusoids(length: int, width: int) -> torch.Tensor:
    """f32[length, width]: Whisper's table of positions, sines then cosines (openai/whisper, model.py)."""
    rates = torch.exp(-math.log(10_000.0) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _babble(random: np.random.Generator) -> Float32Array:
    """f32[_CLIP_SECONDS at 16 kHz] that resembles speech: a gliding voice in syllables, hiss, pauses, changing colour.

    Voice, bandwidth and background are drawn for the clip.
    """
    t = np.arange(_CLIP_SECONDS * MODEL_INPUT_RATE) / MODEL_INPUT_RATE

    def wander(rate: float) -> np.ndarray:
        """A random curve that takes a new value `rate` times a second."""
        knots = random.standard_normal(int(_CLIP_SECONDS * rate) + 2)
        return np.interp(t * rate, np.arange(len(knots)), knots)

    height = random.uniform(90.0, 250.0)  # Hz
    pitch = 2 * np.pi * np.cumsum(height * np.exp(0.2 * wander(1.0))) / MODEL_INPUT_RATE
    voice = sum(np.exp(wander(_SYLLABLES)) * np.sin(h * pitch) / h for h in range(1, 16))
    hiss = np.exp(wander(_SYLLABLES) - 1.0) * random.standard_normal(len(t))
    loudness = np.clip(wander(_SYLLABLES) + 0.5, 0.0, None)
    sound = loudness * (voice + hiss) + 10 ** random.uniform(-4.0, -1.0) * random.standard_normal(len(t))
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(t), 1 / MODEL_INPUT_RATE) > random.uniform(3_400.0, 8_000.0)] *= 1e-4
    sound = np.fft.irfft(spectrum, len(t))
    clip: Float32Array = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    return clip


def _codes_like(vectors: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
    """f32[count, width]: codes spread as `vectors`, f32[n, width], are: each one of them, moved towards another."""
    first, second = (torch.randint(len(vectors), (count,), generator=random) for _ in range(2))
    share = _MIX * torch.rand(count, 1, generator=random)
    return torch.lerp(vectors[first], vectors[second], share)
