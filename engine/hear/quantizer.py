"""The codebook of speech tokens."""

import torch
from torch import nn

from antiphon.kernels.vq_nearest import vq_nearest


class Codebook(nn.Embedding):
    """One vector for each speech token, i.e. `weight`, f[codes, width]."""

    def nearest(self, hidden: torch.Tensor) -> torch.Tensor:
        """Ids i64[N] of the codes nearest to `hidden`, f[N, width]; distances are taken in float32 or better."""
        return vq_nearest(hidden.float(), self.weight.detach().float())
