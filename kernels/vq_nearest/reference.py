"""`vq_nearest` in plain torch: a float32 pass bounds which codes can be nearest, a float64 pass decides among them."""

from typing import Final

import torch

_ROWS_AT_ONCE: Final = 1_024  # scores held at a time: 64 MiB with 16,384 codes
_PAIRS_AT_ONCE: Final = 8_192


def vq_nearest(
    x: torch.Tensor,  # f32[N, D]
    codebook: torch.Tensor,  # f32[K, D]
) -> torch.Tensor:
    """i64[N]; the definition of correct."""
    squares = codebook.square().sum(dim=1)
    nearest = [_nearest(rows, codebook, squares) for rows in torch.split(x.detach(), _ROWS_AT_ONCE)]
    return torch.cat(nearest) if nearest else torch.empty(0, dtype=torch.int64, device=x.device)


def _nearest(x: torch.Tensor, codebook: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """i64[N] for few rows."""
    # ‖c‖² − 2 x·c: the distance less ‖x‖², which is the same for all codes.
    scores = torch.addmm(squares, x, codebook.t(), alpha=-2.0)
    # A sum of D float32 products is off by at most D·ε·Σ|products|, in any order. Two scores: twice.
    largest = x.norm(dim=1) + squares.max().sqrt()
    slack = 2 * (x.shape[1] + 4) * torch.finfo(torch.float32).eps * largest.square()
    rows, codes = (scores <= scores.amin(dim=1).add(slack).unsqueeze(1)).nonzero(as_tuple=True)
    distances = torch.cat(
        [
            (x[r].double() - codebook[c].double()).square().sum(dim=1)
            for r, c in zip(torch.split(rows, _PAIRS_AT_ONCE), torch.split(codes, _PAIRS_AT_ONCE), strict=True)
        ]
    )
    best = distances.new_full((x.shape[0],), torch.inf).scatter_reduce(0, rows, distances, "amin")
    is_best = distances == best[rows]
    first = codes.new_full((x.shape[0],), codebook.shape[0])
    return first.scatter_reduce(0, rows[is_best], codes[is_best], "amin")
