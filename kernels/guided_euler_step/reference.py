"""`guided_euler_step` in plain torch."""

import torch

from antiphon.kernels.packing import sequence_of_row


def guided_euler_step(
    x: torch.Tensor,  # f32[ΣT, C]
    velocity: torch.Tensor,  # f[2·ΣT, C]
    dt: torch.Tensor,  # f32[S]
    cu_seqlens: torch.Tensor,  # i32[S + 1]
    *,
    guidance: float,
) -> torch.Tensor:
    """Differentiable; the definition of correct. f32[ΣT, C]."""
    rows = len(x)
    if len(dt) == 1:
        conditional, unconditional = velocity[:rows], velocity[rows:]
        step = dt
    else:
        sequence = sequence_of_row(cu_seqlens, rows)
        row = torch.arange(rows, device=x.device) + cu_seqlens[sequence]  # the pairs before it have twice its rows
        conditional, unconditional = velocity[row], velocity[row + cu_seqlens.diff()[sequence]]
        step = dt[sequence, None]
    guided = (1.0 + guidance) * conditional.float() - guidance * unconditional.float()
    return x + step * guided
