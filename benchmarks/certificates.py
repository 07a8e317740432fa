"""Which rows the certificates of `vq_nearest` and `sample` leave undecided, counted as the kernels do on a card.

The kernels' own counts need a card: on the CPU Triton's interpreter multiplies in full float32, and its tiles are
smaller. So the counts are made again here, in torch: factors are cut to TF32 as a tensor core takes them, and rows are
cut into the card's tiles.
"""

from typing import Final

import torch

from antiphon.kernels.sample.reference import LARGEST_NUCLEUS
from antiphon.kernels.sample.tuned import Sizes, sizes_for
from antiphon.kernels.vq_nearest.tuned import GROUP

CARD: Final = sizes_for("sm_90")
_CUT_BITS: Final = 13  # of float32's 23 that TF32 has not
_ROWS_AT_ONCE: Final = 256


def as_tf32(x: torch.Tensor) -> torch.Tensor:
    """f32 values cut to TF32's 10 bits of fraction, toward 0: the worst that a tensor core makes of them."""
    return (x.contiguous().view(torch.int32) >> _CUT_BITS << _CUT_BITS).view(torch.float32)


def groups_measured(
    x: torch.Tensor,  # f32[N, D]
    codebook: torch.Tensor,  # f32[K, D]
) -> torch.Tensor:
    """i64[N]: of how many groups of eight codes the bounds of `vq_nearest`'s first pass leave a row's distances to be
    measured. One is decided by the first pass but for the code within the group.
    """
    return torch.cat([_groups_measured(rows, codebook) for rows in torch.split(x, _ROWS_AT_ONCE)])


def _groups_measured(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    width = x.shape[1]
    x_square, c_square = x.square().sum(1), codebook.square().sum(1)
    score = c_square - 2 * as_tf32(x) @ as_tf32(codebook).t()
    # The kernel's bound, term by term.
    error = 2.04 * (0.001955 + 2.4e-7 * width) * x_square.sqrt()[:, None] * c_square.sqrt()
    error += (2.4e-7 * width + 4e-6) * c_square + 1e-36 * width
    surplus = -len(codebook) % GROUP
    at_least = torch.nn.functional.pad(score - error, (0, surplus), value=torch.inf)
    lowest = at_least.view(len(x), -1, GROUP).amin(2)
    return (lowest <= (score + error).amin(1, keepdim=True)).sum(1)


def candidates_decide(
    logits: torch.Tensor,  # f32[R, V]
    temperature: float,  # above 0
    top_p: float,  # below 1
    sizes: Sizes = CARD,
) -> torch.Tensor:
    """bool[R]: whether the few highest of each tile hold the whole nucleus, and `sample`'s kernel knows it."""
    tiles = torch.nn.functional.pad(logits, (0, -logits.shape[1] % sizes.tile), value=-torch.inf)
    highest = tiles.view(len(logits), -1, sizes.tile).topk(sizes.candidates).values
    # What a tile did not send lies at or below its last candidate.
    sent = highest > highest[:, :, -1].amax(1)[:, None, None]
    weights = _weights(highest, logits, temperature).where(sent, 0.0)
    return weights.sum((1, 2)) >= top_p * _weights(logits, logits, temperature).sum(1)


def nucleus_sorted(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """bool[R]: whether the reference finds the nucleus among as many of the highest as it sorts."""
    highest = logits.topk(min(LARGEST_NUCLEUS, logits.shape[1])).values
    total = _weights(logits, logits, temperature).sum(1)
    return _weights(highest, logits, temperature).sum(1) >= top_p * total


def _weights(x: torch.Tensor, logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """f64: exp((x − highest) / T) of each row."""
    top = logits.amax(1).double().view(-1, *[1] * (x.ndim - 1))
    return ((x.double() - top) / temperature).exp()
