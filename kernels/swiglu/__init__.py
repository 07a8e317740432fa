"""The gate of a SwiGLU block: y = silu(gate) · up, where a row holds [gate | up].

Source: Shazeer 2020 (arXiv 2002.05202); order of the halves as MLP in glm-4-voice-9b's modeling_chatglm.py.
"""

import torch

from antiphon.kernels.checks import check, check_shape, check_unit_stride
from antiphon.kernels.registry import Op
from antiphon.kernels.swiglu import reference

OP = Op("swiglu", reference.swiglu, "antiphon.kernels.swiglu.kernel")


def swiglu(
    gate_up: torch.Tensor,  # f[N, 2F]
) -> torch.Tensor:
    """f[N, F] of the argument's dtype; computed in float32 and rounded once. Rows are independent of each other."""
    check_shape("gate_up", gate_up, (None, None))
    check(gate_up.shape[1] % 2 == 0, f"gate_up has {gate_up.shape[1]} columns; expected an even number.")
    check(gate_up.is_floating_point(), f"gate_up is {gate_up.dtype}; expected a floating-point dtype.")
    check_unit_stride(gate_up=gate_up)
    return OP.implementation(gate_up.device)(gate_up)
