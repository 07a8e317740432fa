"""One Euler step of every sequence along its guided velocity: x + dt · ((1 + g) · v_conditional − g · v_unconditional).

The velocities of a sequence's guidance pair lie one after the other in one pack: [v_c of sequence 0, v_u of 0, v_c of
1, v_u of 1, …]. Each sequence has a step size of its own, since rows may stand at different steps of their solves.

Source: zai-org/GLM-4-Voice, cosyvoice/flow/flow_matching.py, `solve_euler`; classifier-free guidance as in VoiceBox
(arXiv 2306.15687).
"""

import torch

from antiphon.kernels.checks import check_dtype, check_same_device, check_shape
from antiphon.kernels.guided_euler_step import reference
from antiphon.kernels.registry import Op

OP = Op("guided_euler_step", reference.guided_euler_step, "antiphon.kernels.guided_euler_step.kernel")


def guided_euler_step(
    x: torch.Tensor,  # f32[ΣT, C]
    velocity: torch.Tensor,  # f[2·ΣT, C]
    dt: torch.Tensor,  # f32[S]
    cu_seqlens: torch.Tensor,  # i32[S + 1], of x
    *,
    guidance: float,
) -> torch.Tensor:
    """Return the next x, f32[ΣT, C]."""
    check_shape("x", x, (None, None))
    check_shape("velocity", velocity, (2 * x.shape[0], x.shape[1]))
    check_shape("dt", dt, (len(cu_seqlens) - 1,))
    check_dtype("x", x, torch.float32)
    check_dtype("dt", dt, torch.float32)
    check_dtype("cu_seqlens", cu_seqlens, torch.int32)
    check_same_device(x=x, velocity=velocity, dt=dt, cu_seqlens=cu_seqlens)
    return OP.implementation(x.device)(x, velocity, dt, cu_seqlens, guidance=guidance)
