"""The vocoder's excitation: from F0 to one periodic source signal, and the randomness in it.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py (`SineGen`, `SourceModuleHnNSF`); the seed is set in
cosyvoice/flow/flow_matching.py.
"""

from dataclasses import dataclass

import torch
from torch import nn

from antiphon.engine.speak.noise import OFFICIAL_SEED
from antiphon.engine.weights.configs import VocoderConfig
from antiphon.kernels.harmonic_source import harmonic_source
from antiphon.kernels.packed_conv1d import packed_conv1d


@dataclass(frozen=True)
class SourceRandomness:
    """What is random in one sequence's source."""

    phase: torch.Tensor  # f32[harmonics + 1] radians; the fundamental's is 0
    noise: torch.Tensor  # f32[samples, harmonics + 1], standard normal


class HarmonicSource(nn.Module):
    """F0 to source: sines and noise, mixed by one linear layer and tanh."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.l_linear = nn.Linear(config.harmonics + 1, 1)

    def forward(
        self,
        f0: torch.Tensor,  # f32[ΣT] Hz
        phase: torch.Tensor,  # f32[S, harmonics + 1]
        noise: torch.Tensor,  # f32[ΣT · hop, harmonics + 1]
        cu_seqlens: torch.Tensor,  # i32[S + 1], in frames
    ) -> torch.Tensor:
        """Return f32[ΣT · hop] in (−1, 1)."""
        config = self.config
        # Detached as in the official training: the wave's loss reaches F0 through its own term, never through a sine.
        sines = harmonic_source(
            f0.detach(),
            phase,
            noise,
            cu_seqlens,
            hop=config.hop,
            sample_rate=config.sample_rate,
            amplitude=config.source_amplitude,
            sigma=config.source_sigma,
            voiced_threshold=config.voiced_threshold,
        )
        # A convolution of one tap takes each sequence alone: a matrix product would round by the batch's size.
        mixed, _ = packed_conv1d(sines, self.l_linear.weight[:, :, None], self.l_linear.bias, cu_seqlens * config.hop)
        return torch.tanh(mixed[:, 0])


def official_randomness(flow_frames: int, vocoder_frames: int, config: VocoderConfig) -> SourceRandomness:
    """What the official code draws on the CPU for one chunk.

    Its flow seeds 42 and draws the noise of all `flow_frames` of that call (prompt and chunk); the vocoder goes on in
    the same generator: phases uniform in [−π, π) with the fundamental's set to 0, then noise for `vocoder_frames`.
    """
    generator = torch.Generator().manual_seed(OFFICIAL_SEED)
    torch.randn(config.mel_bins * flow_frames, generator=generator)
    sines = config.harmonics + 1
    phase = -torch.pi + torch.rand(sines, generator=generator) * (2 * torch.pi)
    phase[0] = 0
    noise = torch.randn(sines, vocoder_frames * config.hop, generator=generator)
    return SourceRandomness(phase, noise.t())
