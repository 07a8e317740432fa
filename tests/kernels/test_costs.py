"""Every operation's cost at the real model's shapes, counted another way: bytes by the tensors themselves, products by
torch's counter over the reference or over the keys that each query sees, the rest by so many a value.

Nothing is computed: floats are on 'meta', and kernels are not run.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from antiphon.kernels.cases import Call, Case, cases_of, launcher_of
from antiphon.kernels.log_mel.cost import log_mel_cost
from antiphon.kernels.registry import Op, all_ops, use_backend
from antiphon.kernels.sample.philox import ROUNDS

OPS: Final = {op.name: op for op in all_ops()}
HOP: Final = 160


def _log_mel_of(frames: int) -> Case:
    """`log_mel` has no kernel and so no cases. Its frames overlap: each new one reads a hop of samples."""

    def make(device: torch.device) -> Call:
        samples = torch.zeros(frames * HOP, device=device)
        starts = torch.arange(frames, device=device) * HOP
        return Call((samples, starts, torch.zeros(400, device=device), torch.zeros(201, 128, device=device)))

    return Case(f"{frames} frames", make, log_mel_cost(frames, HOP, 400, 128), tolerance=None)


CASES: Final = [(op, case) for op in OPS.values() for case in cases_of(op)] + [(OPS["log_mel"], _log_mel_of(400))]


class _FloatsOnMeta(TorchFunctionMode):
    """Makes tensors of floats without memory, whatever device is named: references read whole numbers back."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        makers = (torch.randn, torch.rand, torch.zeros, torch.full)
        if func in makers and given.get("dtype", torch.float32).is_floating_point:
            given["device"] = "meta"
        return func(*args, **given)


def _outputs(op: Op[Any], call: Call) -> Any:
    """What the launcher allocates for its kernels."""
    from triton.runtime.interpreter import InterpretedFunction

    with mock.patch.object(InterpretedFunction, "run", lambda *_, **__: None):
        with use_backend("triton"), torch.inference_mode():
            return launcher_of(op)(*call.args, **call.kwargs)


def _counted(op: Op[Any], call: Call) -> int:
    """FLOPs of the products that the reference takes."""
    module = importlib.import_module(f"antiphon.kernels.{op.name}")
    with mock.patch.object(module, "check_same_device", lambda **_: None):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            launcher_of(op)(*call.args, **call.kwargs)
    return counter.get_total_flops()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _tensors([getattr(value, each.name) for each in fields(value)])


def _bytes(name: str, call: Call, outputs: Any, contexts: int) -> int:
    """Of floats given and all floats and ids that come out, each tensor once; of a cache, what the call touches."""
    args = list(call.args)
    touched = 0
    if name == "paged_attention":
        pages, _ = args[1:3]
        args[1:3] = []
        touched = 2 * contexts * pages[0, 0].numel() * pages.itemsize
    elif name == "rope_paged_write":
        args[4:6] = []
        touched = 2 * args[1].nbytes  # keys and values of the rows
    given = [tensor for tensor in _tensors([args, dict(call.kwargs)]) if tensor.is_floating_point()]
    made = [tensor for tensor in _tensors(outputs) if tensor.dtype != torch.int32]
    return touched + sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in (*given, *made)}.values())


def _seen(name: str, call: Call) -> int:
    """Pairs of a query and a key it sees, by the definition, row by row."""
    if name == "paged_attention":
        queries, keys = call.args[3].diff().tolist(), call.args[4].tolist()
        block, starts = 1, [k - q for q, k in zip(queries, keys, strict=True)]
    elif name == "relative_attention":
        queries, keys = call.args[6].diff().tolist(), call.kwargs["cu_seqlens_k"].diff().tolist()
        block, starts = call.kwargs["block"], [k - q for q, k in zip(queries, keys, strict=True)]
    else:
        queries, keys = call.args[3].diff().tolist(), call.args[4].diff().tolist()
        block = {"full": None, "causal": 1}.get(call.kwargs.get("mask", "full"), call.kwargs.get("block"))
        starts = call.kwargs["query_starts"].tolist() if "query_starts" in call.kwargs else [0] * len(queries)
    return sum(
        end if block is None else min(end, (start + row) // block * block + block)
        for rows, end, start in zip(queries, keys, starts, strict=True)
        for row in range(rows)
    )


def _attention(op: Op[Any], call: Call, outputs: Any) -> int:
    _, heads, dim = call.args[0].shape
    return 4 * heads * dim * _seen(op.name, call)


def _relative_attention(op: Op[Any], call: Call, outputs: Any) -> int:
    _, heads, dim = call.args[0].shape
    return (3 * 2 * dim + 5) * heads * _seen(op.name, call)


def _upsampling(op: Op[Any], call: Call, outputs: Any) -> int:
    """The reference makes the row as well that an odd length crops."""
    made = 2 * len(call.args[0])
    return _counted(op, call) * len(outputs) // made + outputs.numel()


def _nearest(op: Op[Any], call: Call, outputs: Any) -> int:
    """The reference looks at values; what it must do is every product and every comparison."""
    x, codebook = call.args
    with FlopCounterMode(display=False) as counter:
        scores = x @ codebook.t()
    return counter.get_total_flops() + scores.numel()


def _spectrum(op: Op[Any], call: Call, outputs: Any) -> int:
    n_fft = call.kwargs["n_fft"]
    if op.name == "packed_stft":
        return 2 * n_fft * outputs[0].numel()
    return len(call.args[0]) * (2 * n_fft * (n_fft + 2) + 5 * (n_fft // 2 + 1) + 2 * n_fft)


def _a_value(flops: int, of: Callable[[Call, Any], int], products: bool = False) -> Callable[..., int]:
    """So many FLOPs a value, beside the products where there are some."""

    def count(op: Op[Any], call: Call, outputs: Any) -> int:
        return flops * of(call, outputs) + (_counted(op, call) if products else 0)

    return count


def _input(call: Call, outputs: Any) -> int:
    values: int = call.args[0].numel()
    return values


def _output(call: Call, outputs: Any) -> int:
    values: int = next(_tensors(outputs)).numel()
    return values


def _biased(op: Op[Any], call: Call, outputs: Any) -> int:
    return _counted(op, call) + (0 if call.args[2] is None else outputs[0].numel())


def _layers(op: Op[Any], call: Call, outputs: Any) -> int:
    """Two Snakes of five, two biases and the sum, in each layer."""
    return _counted(op, call) + outputs.numel() * sum(map(len, call.args[1])) * (2 * 5 + 2 + 1)


FLOPS: Final[dict[str, Callable[[Op[Any], Call, Any], int]]] = {
    "conv_norm_mish": _a_value(10, _output, products=True),
    "counter_normal": lambda op, call, out: out.numel() // 4 * (10 * ROUNDS + 2 * 8),  # four of one counter
    "feed_forward_gelu": lambda op, call, out: _counted(op, call) + 9 * out.numel() + 10 * len(out) * len(call.args[4]),
    "guided_euler_step": _a_value(5, _input),
    "harmonic_source": _a_value(8, _output),
    "istft_head": _spectrum,
    "layer_norm_linear": _a_value(8, _input, products=True),
    "log_mel": lambda op, call, out: _counted(op, call) + len(out) * (400 + 8_644 + 3 * 201),  # 2.5 n log₂ n: the FFT
    "packed_conv1d": _biased,
    "packed_conv_transpose1d": _biased,
    "packed_stft": _spectrum,
    "packed_upsample": _upsampling,
    "paged_attention": _attention,
    "relative_attention": _relative_attention,
    "residual_blocks": _layers,
    "rms_norm": lambda op, call, out: (5 if call.kwargs else 4) * out[0].numel(),  # one more for a residual
    "rope_paged_write": lambda op, call, out: (
        3 * call.args[3].numel() * (call.args[0].shape[1] + call.args[1].shape[1])
    ),
    "sample": _a_value(4, _input),
    "snake": _a_value(5, _output),
    "swiglu": _a_value(5, _output),
    "varlen_attention": _attention,
    "vq_nearest": _nearest,
}


def test_every_operation_has_a_cost() -> None:
    assert set(FLOPS) == set(OPS)


@pytest.mark.parametrize(("op", "case"), [pytest.param(*each, id=f"{each[0].name}: {each[1].name}") for each in CASES])
def test_cost_is_what_the_call_reads_writes_and_computes(op: Op[Any], case: Case) -> None:
    without_memory = case.make(torch.device("meta"))
    outputs = _outputs(op, without_memory)
    with _FloatsOnMeta():
        call = case.make(torch.device("cpu"))
    contexts = int(call.args[4].sum()) if op.name == "paged_attention" else 0
    assert case.cost.bytes_moved == _bytes(op.name, without_memory, outputs, contexts)
    assert case.cost.flops == FLOPS[op.name](op, call, outputs)
