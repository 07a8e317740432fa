"""From the token rate to the mel frame rate: nearest interpolation, then convolutions that smooth it.

Source: zai-org/GLM-4-Voice, cosyvoice/flow/length_regulator.py, `InterpolateRegulator`.
"""

import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.speak.packing import Packing
from antiphon.engine.weights.configs import FlowConfig
from antiphon.kernels.conv_norm_mish import conv_norm_mish
from antiphon.kernels.packing import sequence_of_row


class LengthRegulator(nn.Module):
    """Repeats token rows to mel frames and smooths them; GroupNorm with one group takes in the whole sequence."""

    def __init__(self, config: FlowConfig):
        super().__init__()
        channels = config.regulator_channels
        layers: list[nn.Module] = []
        for _ in range(config.regulator_layers):
            layers += [nn.Conv1d(channels, channels, 3, padding=1), nn.GroupNorm(1, channels), nn.Mish()]
        layers.append(nn.Conv1d(channels, config.mel_bins, 1))
        self.model = nn.Sequential(*layers)  # holds the parameters under their official names; the operations run below

    def forward(
        self,
        h: torch.Tensor,  # f[ΣN, C]
        rows: torch.Tensor,  # i64[ΣT]: the row of `h` that each mel frame repeats
        frames: Packing,
    ) -> torch.Tensor:
        """mu, f[ΣT, mel_bins]."""
        x = h[rows]
        modules = list(self.model)
        for conv, norm in zip(modules[:-1:3], modules[1:-1:3], strict=True):
            assert isinstance(conv, nn.Conv1d) and isinstance(norm, nn.GroupNorm) and conv.bias is not None
            x = conv_norm_mish(
                x,
                conv.weight,
                conv.bias,
                norm.weight,
                norm.bias,
                frames.cu_seqlens,
                max_seqlen=frames.max_length,
                groups=norm.num_groups,
                eps=norm.eps,
            )
        proj = modules[-1]
        assert isinstance(proj, nn.Conv1d)
        return F.linear(x, proj.weight.squeeze(2), proj.bias)


def nearest_rows(tokens: Packing, frames: Packing) -> torch.Tensor:
    """i64[ΣT]: the packed token row that each mel frame repeats.

    Frame t of T takes token floor(t · (N / T)) with the ratio and the product in float32, as torch's nearest
    interpolation does.
    """
    device = frames.cu_seqlens.device
    sequence = sequence_of_row(frames.cu_seqlens, frames.rows)
    frame = torch.arange(frames.rows, device=device) - frames.cu_seqlens[sequence]
    token_counts, frame_counts = tokens.cu_seqlens.diff(), frames.cu_seqlens.diff()
    ratio = token_counts.float() / frame_counts.float()
    token = (frame.float() * ratio[sequence]).floor().long()
    return torch.minimum(token, token_counts[sequence] - 1) + tokens.cu_seqlens[sequence]
