"""`sample` over the real vocabulary: 168,960 logits a row."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.sample.cost import sample_cost

_VOCAB: Final = 168_960
_SPEECH: Final = slice(152_353, 168_737)  # the 16,384 speech ids


def _case(rows: int, temperature: float, top_p: float) -> Case:
    def make(device: torch.device) -> Call:
        logits = torch.randn(rows, _VOCAB, device=device)
        logits[:, _SPEECH] += 5 + 2 * torch.randn(rows, _SPEECH.stop - _SPEECH.start, device=device)
        return Call(
            (
                logits,
                torch.full((rows,), temperature, device=device),
                torch.zeros(rows, dtype=torch.int32, device=device),
                torch.full((rows,), top_p, device=device),
                torch.arange(rows, device=device),
                torch.arange(rows, device=device),
            )
        )

    return Case(
        f"{rows} rows, temperature {temperature:g}, top-p {top_p:g}",
        make,
        sample_cost(rows, _VOCAB),
        tolerance=None,
        oracle_in_float64=False,
        report=_undecided,
    )


def _undecided(*arguments: torch.Tensor) -> str:
    from antiphon.kernels.sample.kernel import choose

    return f"{choose(*arguments)[1].float().mean():.1%} of the rows searched whole"


CASES: Final = (
    _case(1, 0.2, 0.8),
    _case(64, 0.2, 0.8),
    _case(64, 1.0, 0.8),  # a nucleus of thousands: every row is searched whole
    _case(64, 1.0, 1.0),
    _case(64, 0.0, 1.0),
)
