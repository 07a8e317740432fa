"""Which backend an operation runs on, and that what cannot run is refused in words."""

import pytest
import torch

from antiphon.kernels.registry import BackendError, Op, all_ops, use_backend


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


CPU = torch.device("cpu")
WITHOUT = Op("doubled", _doubled)
WITH = Op("vq_nearest", _doubled, "antiphon.kernels.vq_nearest.kernel")


def test_torch_runs_on_the_cpu_and_where_there_is_no_kernel() -> None:
    assert WITH.choose(CPU).backend == "torch"
    assert "'cpu'" in WITH.choose(CPU).reason
    assert "no Triton kernel" in WITHOUT.choose(torch.device("cuda")).reason
    assert WITHOUT.implementation(CPU) is _doubled


def test_a_backend_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with use_backend("triton"):
        assert WITH.choose(CPU).backend == "triton"
        assert WITH.implementation(CPU) is not _doubled
        assert WITHOUT.implementation(CPU) is _doubled
        with use_backend("torch"):
            assert WITH.implementation(CPU) is _doubled
    monkeypatch.setenv("ANTIPHON_KERNELS", "triton")
    assert WITH.choose(CPU).backend == "triton"
    monkeypatch.setenv("ANTIPHON_KERNELS", "cuda")
    with pytest.raises(BackendError, match="ANTIPHON_KERNELS is 'cuda'; expected 'torch' or 'triton'"):
        WITH.choose(CPU)


def test_triton_without_the_interpreter_is_refused_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    with use_backend("triton"), pytest.raises(BackendError, match="tensors are on 'cpu'.*TRITON_INTERPRET=1"):
        WITH.implementation(CPU)


def test_the_reason_names_the_calls_that_torch_runs_all_the_same() -> None:
    op = next(op for op in all_ops() if op.name == "packed_conv1d")
    with use_backend("triton"):
        assert op.choose(CPU).reason == "Triton was asked for; torch runs float64"


def test_every_operation_says_why() -> None:
    for op in all_ops():
        assert op.choose(CPU).backend == "torch"
        assert op.choose(CPU).reason
