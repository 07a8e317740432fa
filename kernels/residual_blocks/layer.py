"""What one layer of a residual block holds."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class ResidualLayer:
    """Snake and a dilated convolution, Snake and a plain one."""

    alpha_1: torch.Tensor  # f[C]
    weight_1: torch.Tensor  # f[C, C, K], K odd
    bias_1: torch.Tensor  # f[C]
    dilation: int  # of the first convolution; the second's is 1
    alpha_2: torch.Tensor  # f[C]
    weight_2: torch.Tensor  # f[C, C, K]
    bias_2: torch.Tensor  # f[C]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that must lie on one device, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
