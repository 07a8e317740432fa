"""What runs beside our kernels when a stage runs on Triton: the library operations that were chosen, and no others."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from dispatch import dispatched
from interpreter import interpreted
from loops import Bench
from smallest_parts import smallest_parts

import antiphon
from antiphon.engine.messages import Commit
from antiphon.engine.speak.seamless_settings import SeamlessSettings
from antiphon.events import AudioOutput, FinishReason, ResponseCompleted
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


class Library(NamedTuple):
    """Operations on rows that a stage leaves to the library."""

    stages: str
    operations: str
    reason: str


HEAR, THINK, BEGIN, STEP, FINISH, REST = "hear", "think", "begin a chunk", "Euler step", "finish a chunk", "the rest"
LIBRARY = (
    Library(REST, "fft_rfft", "log-mel: the transform is the library's"),
    Library(
        REST,
        "index to mul real imag square add matmul clamp log10 cat arange clone",
        "log-mel around it, in float64 on the host, as the audio comes in",
    ),
    Library(", ".join((HEAR, THINK, BEGIN, STEP)), "linear", "products of matrices: cuBLAS"),
    Library(", ".join((HEAR, THINK, BEGIN)), "embedding", "rows of a table, once a forward"),
    Library(HEAR, "layer_norm gelu add", "the encoder's layers: the library's fused passes between its products"),
    Library(HEAR, "mean", "the pooling, once a forward"),
    Library(HEAR, "cat", "the keys that each span sees, its past's included"),
    Library(THINK, "to outer cos sin stack", "the positions' angles, once a step and not once a layer"),
    Library(THINK, "index", "the last row of each sequence"),
    Library(
        BEGIN,
        "layer_norm silu mul sin cos stack cat add index div pad arange exp mish sub repeat_interleave new_zeros",
        "a chunk's few tokens through their encoder, and all that the ten steps share: once a chunk",
    ),
    Library(STEP, "cat stack", "the dialogues' rows side by side, and what the way down kept beside the way up"),
    Library(STEP, "add", "a block's shortcut"),
    Library(
        FINISH,
        "conv2d relu clamp expm1 abs to",
        "F0 in float64, at the mel's rate: what it is off by adds up in the phase",
    ),
    Library(FINISH, "tanh mul div add", "the harmonics' mix, one value a sample, and a turn's phases"),
    Library(FINISH, "leaky_relu add cat contiguous", "the source joins each stage of the filter, with its first row"),
    Library(FINISH, "lerp cat clone", "a chunk's frames joined to the last one's, and those kept for the next"),
)  # fmt: skip
KERNELS = {
    HEAR: {"_conv1d", "_attention", "_bound_scores", "_measure_groups"},
    THINK: {
        "_rms_norm",
        "_rope_paged_write",
        "_prefill",
        "_decode",
        "_merge",
        "_swiglu",
        "_summarise_tiles",
        "_choose",
        "_choose_from_all",
    },
    BEGIN: {"_relative_attention", "_convolve", "_normalise", "_conv1d", "_counter_normal"},
    STEP: {
        "_convolve",
        "_normalise",
        "_layer_norm_linear",
        "_attention",
        "_up",
        "_down",
        "_conv1d",
        "_conv_transpose1d",
        "_guided_euler_step",
    },
    FINISH: {
        "_counter_normal",
        "_harmonic_source",
        "_packed_stft",
        "_conv1d",
        "_conv_transpose1d",
        "_snake",
        "_istft_head",
    },
}


def test_a_served_turn_is_our_kernels_and_the_library_s_that_were_chosen() -> None:
    """From audio to audio, in seamless mode, by the engine's own loop."""
    tokenizer, lm, decoder = parts = smallest_parts()
    seen: dict[str, Counter[str]] = {}

    def traced(stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def traced_run(*args: Any) -> Any:
            with dispatched(rows_only=True) as calls:
                result = run(*args)
            seen.setdefault(stage, Counter()).update(calls)
            return result

        return traced_run

    seamless = SeamlessSettings(first_chunk=2, held_back_frames=2, provisional=1)  # two chunks: one holds back
    one_step = mock.patch("antiphon.engine.speak.flow.EULER_STEPS", 1)  # one is as good as ten
    with interpreted(), one_step, dispatched(rows_only=True) as everywhere:
        bench = Bench(parts, antiphon.EngineConfig(kv_tokens=1_024, seamless=seamless))
        bench.loop._runner.step = traced(THINK, bench.loop._runner.step)  # type: ignore[method-assign]
        tokenizer.run = traced(HEAR, tokenizer.run)  # type: ignore[method-assign]
        decoder.begin = traced(BEGIN, decoder.begin)  # type: ignore[method-assign]
        decoder.advance = traced(STEP, decoder.advance)  # type: ignore[method-assign]
        decoder.finish = traced(FINISH, decoder.finish)  # type: ignore[method-assign]
        bench.open("caller", max_new_tokens=2)
        bench.say("caller", [np.random.default_rng(0).uniform(-0.3, 0.3, 1_600).astype(np.float32)])
        bench.loop.submit(Commit("caller", "answer"))
        bench.run()
    [completed] = bench.events("caller", ResponseCompleted)
    assert completed.finish_reason is FinishReason.LENGTH, completed.failure
    assert sum(event.samples.size for event in bench.events("caller", AudioOutput)) == 13 * decoder.vocoder.config.hop

    seen[REST] = everywhere.copy()
    for stage in (HEAR, THINK, BEGIN, STEP, FINISH):
        seen[REST].subtract(seen[stage])
    assert not [fault for stage, calls in seen.items() for fault in _faults(stage, calls)]


def _faults(stage: str, calls: Counter[str]) -> list[str]:
    made = {name for name, count in calls.items() if count > 0}
    kernels = {name.removeprefix("triton:") for name in made if name.startswith("triton:")}
    allowed = {name for entry in LIBRARY if stage in entry.stages for name in entry.operations.split()}
    beside = {name for name in made if not name.startswith("triton:")} - allowed
    faults = []
    if kernels != KERNELS.get(stage, set()):
        faults.append(f"{stage} runs {sorted(kernels)}; expected {sorted(KERNELS.get(stage, set()))}")
    if beside:
        faults.append(f"{stage} computes rows by {sorted(beside)}: kernels' work, or name it in LIBRARY and why")
    return faults


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


def test_rows_are_told_from_bookkeeping() -> None:
    rows, offsets = torch.ones(40, 8), torch.arange(4)
    with torch.inference_mode(), dispatched(rows_only=True) as calls:
        offsets.diff().cumsum(0)
        rows[1:].view(-1)
        rows.add_(1)  # in place: computed all the same
        rows.t().contiguous()
    assert calls == {"add_": 1, "contiguous": 1}
