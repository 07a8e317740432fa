"""`vq_nearest` as the official tokenizer calls it: 12.5 vectors of 1,280 a second, 16,384 codes."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.vq_nearest.cost import vq_nearest_cost

_CODES: Final = 16_384
_WIDTH: Final = 1_280


def _case(rows: int, what: str, *, between: bool = False) -> Case:
    """`between`: vectors lie halfway between two codes, and the bounds decide none of them."""

    def make(device: torch.device) -> Call:
        codebook = torch.randn(_CODES, _WIDTH, device=device)
        near = codebook[:rows]
        if between:
            near = (near + codebook[_CODES // 2 : _CODES // 2 + rows]) / 2
            return Call((near + 1e-3 * torch.randn(rows, _WIDTH, device=device), codebook))
        return Call((near + 0.5 * torch.randn(rows, _WIDTH, device=device), codebook))

    return Case(
        f"{rows:,} vectors: {what}",
        make,
        vq_nearest_cost(rows, _CODES, _WIDTH),
        tolerance=None,
        oracle_in_float64=False,
        baselines={"addmm + argmin": _nearest_by_addmm},
        report=_groups_measured,
    )


def _nearest_by_addmm(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """What a program would write first: every score in memory, ties and near ties as float32 has them."""
    return torch.addmm(codebook.square().sum(dim=1), x, codebook.t(), alpha=-2.0).argmin(dim=1)


def _groups_measured(x: torch.Tensor, codebook: torch.Tensor) -> str:
    from antiphon.kernels.vq_nearest.kernel import search

    measured = search(x, codebook)[1].float()
    more = (measured > 1).float().mean()
    return f"groups measured a row: mean {measured.mean():.2f}, most {measured.max():.0f}; {more:.1%} more than one"


CASES: Final = (
    _case(50, "4 s"),
    _case(1_600, "32 callers' 4 s"),
    _case(50, "4 s, no row decided by the bounds", between=True),
    _case(1_600, "32 callers' 4 s, no row decided by the bounds", between=True),
)
