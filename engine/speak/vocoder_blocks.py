"""The parts of the vocoder: F0 predictor, Snake residual blocks, and the reflected first row.

Source: zai-org/GLM-4-Voice cosyvoice/hifigan/generator.py, cosyvoice/hifigan/f0_predictor.py.
"""

from collections.abc import Sequence

import torch
from torch import nn

from antiphon.engine.speak.convolution import PackedConv1d
from antiphon.kernels.packed_conv1d import packed_conv1d
from antiphon.kernels.residual_blocks import ResidualLayer, residual_blocks


class F0Predictor(nn.Module):
    """Mel to fundamental frequency: five convolutions of three taps, each with ELU, and one linear layer."""

    def __init__(self, mel_bins: int, channels: int, layers: int = 5) -> None:
        super().__init__()
        # Even keys: in the checkpoint the activations stand between the convolutions.
        self.condnet = nn.ModuleDict(
            {str(2 * i): PackedConv1d(channels if i else mel_bins, channels, 3, padding=1) for i in range(layers)}
        )
        self.classifier = nn.Linear(channels, 1)

    def forward(
        self,
        mel: torch.Tensor,  # f32[ΣT, mel_bins]
        cu_seqlens: torch.Tensor,  # i32[S + 1]
        gaps: torch.Tensor | None = None,  # bool[ΣT, 1]: rows of nobody, between stretches and beyond them
    ) -> torch.Tensor:
        """Return f32[ΣT] in Hz, never negative. With `gaps` stretches of one sequence come out as if each were alone;
        in the gaps is nothing of use.
        """
        x = mel if gaps is None else mel.masked_fill(gaps, 0)
        for convolution in self.condnet.values():
            x, _ = convolution(x, cu_seqlens, activation="elu")
            if gaps is not None:
                x = x.masked_fill(gaps, 0)
        # A convolution of one tap takes each sequence alone: a matrix product would round by the batch's size.
        f0, _ = packed_conv1d(x, self.classifier.weight[:, :, None], self.classifier.bias, cu_seqlens)
        return f0[:, 0].abs()


class Snake(nn.Module):
    """The one trainable rate a channel of a Snake, under its name in the checkpoint; `residual_blocks` runs it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels))


class ResidualBlock(nn.Module):
    """For each dilation: Snake, dilated convolution, Snake, plain convolution, added to what came in."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            PackedConv1d(channels, channels, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)
            for dilation in dilations
        )
        self.convs2 = nn.ModuleList(
            PackedConv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )
        self.activations1 = nn.ModuleList(Snake(channels) for _ in dilations)
        self.activations2 = nn.ModuleList(Snake(channels) for _ in dilations)

    def forward(
        self,
        x: torch.Tensor,  # f[ΣT, C]
        cu_seqlens: torch.Tensor,  # i32[S + 1]
    ) -> torch.Tensor:
        """Return f[ΣT, C]."""
        return residual_blocks(x, [self.layers()], cu_seqlens)

    def layers(self) -> list[ResidualLayer]:
        """The parameters, as the operation takes them: several blocks may go through it side by side."""
        parts = zip(self.activations1, self.convs1, self.activations2, self.convs2, strict=True)
        return [_layer(*part) for part in parts]


def _layer(first: nn.Module, dilated: nn.Module, second: nn.Module, plain: nn.Module) -> ResidualLayer:
    assert isinstance(first, Snake) and isinstance(second, Snake)
    assert isinstance(dilated, PackedConv1d) and isinstance(plain, PackedConv1d)
    return ResidualLayer(
        first.alpha, dilated.weight, dilated.bias, dilated.dilation, second.alpha, plain.weight, plain.bias
    )


def reflect_first(
    x: torch.Tensor,  # f[ΣT, C]; each sequence has at least 2 rows
    cu_seqlens: torch.Tensor,  # i32[S + 1]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put each sequence's second row before its first (reflection padding of one row on the left).

    Returns (f[ΣT + S, C], its cu_seqlens).
    """
    sequences = len(cu_seqlens) - 1
    longer = cu_seqlens + torch.arange(sequences + 1, dtype=torch.int32, device=x.device)
    if sequences == 1:  # without a gather
        return torch.cat([x[1:2], x]), longer
    rows = torch.arange(x.shape[0] + sequences, device=x.device)
    sequence = torch.searchsorted(longer, rows, right=True) - 1
    source = rows - sequence - 1
    return x[torch.where(rows == longer[sequence], source + 2, source)], longer
