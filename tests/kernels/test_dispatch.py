"""What runs beside our kernels when a stage runs on Triton: the library operations that were chosen, and no others."""

import torch
from dispatch import dispatched
from interpreter import interpreted

from benchmarks.gpu_stages import stages

VIEWS = {
    "select",
    "split_with_sizes",
    "view",
    "flatten",
    "unbind",
    "slice",
    "empty",
    "empty_like",
    "to",
    "promote_types",
}
ANGLES = {"arange", "div", "pow", "reciprocal", "mul", "outer", "cos", "sin", "stack"}  # once a step, not once a layer
READ_ON_THE_CPU = {"max", "item"}  # the page table's length, which is checked where that reads nothing from a device


def test_an_lm_step_is_our_kernels_and_matrix_products() -> None:
    cpu = torch.device("cpu")
    step = next(stages("tiny", cpu, torch.float32, context=70))
    with interpreted(), dispatched() as calls:
        step.run()
    ours = {name for name in calls if name.startswith("triton:")}
    assert {"triton:_rms_norm", "triton:_rope_paged_write", "triton:_decode", "triton:_swiglu"} <= ours
    assert set(calls) - ours - VIEWS - ANGLES - READ_ON_THE_CPU == {"embedding", "linear"}
    assert all(calls[name] <= 1 for name in ANGLES)


def test_a_library_operation_beside_the_kernels_is_counted() -> None:
    from antiphon.kernels.swiglu import swiglu

    with interpreted(), dispatched() as calls:
        torch.relu(swiglu(torch.ones(1, 8)))
    assert calls["relu"] == 1
    assert calls["triton:_swiglu"] == 1
