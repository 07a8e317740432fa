"""What a second of speech costs in long turns, by streaming mode: operations, CPU time, memory.

    python -m benchmarks.bench_speaking [--model demo/checkpoint] [--seconds 5 15 60 300] [--runs 3]

From the repository's root. Operations are counted, not measured, at the official decoder's size: of matrix products,
convolutions and attention, each as torch runs it, with nothing computed. CPU seconds and memory are measured on
`--model`, one thread, each turn in a process of its own, both modes in turn; tokens come one by one and are never late,
so chunks have their full size. Memory is what the process needed beyond the loaded model. A turn whose operations would
take longer than `--patience` is counted and not run.
Appends to results/speaking.csv.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

from antiphon.engine.speak.chunking import STREAMING_MODES
from antiphon.engine.speak.chunks import ChunkJob, ChunkResult, Solving
from antiphon.engine.speak.decoder import SpeechDecoder
from antiphon.engine.speak.flow import Flow, FlowRequest
from antiphon.engine.speak.noise import EULER_STEPS
from antiphon.engine.speak.vocoder import HiFT
from antiphon.engine.units import OUTPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.engine.weights.configs import DecoderConfig
from antiphon.engine.weights.folders import DECODER_FOLDER
from benchmarks.harness import RESULTS, Spread, append_rows, environment

_ROOT = Path(__file__).parents[1]
_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FORMULAS = {**flop_registry, _ATTENTION: flop_registry[torch.ops.aten._scaled_dot_product_flash_attention]}
_FITTED = (64, 128, 192, 256)  # mel frames: an Euler step of T frames takes a·T + b·T² operations
_GIGA = 1e9


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of products, convolutions and attention, and computes none of them: they give zeros."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is None:
            decomposed = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if decomposed is NotImplemented else decomposed
        shaped = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        out = func(*shaped[0], **shaped[1])
        self.total += formula(*args, **kwargs, out_val=out)
        return tree_map_only(torch.Tensor, lambda tensor: torch.zeros_like(tensor, device="cpu"), out)


@dataclass(frozen=True)
class StepCost:
    """Operations of one guided Euler step of T mel frames: `each · T + squared · T²`."""

    each: float
    squared: float

    @classmethod
    def of(cls, decoder: SpeechDecoder) -> "StepCost":
        """Fitted to counts, which it meets to rounding. Raises ValueError where it does not."""
        counts = [_of_step(decoder, frames) for frames in _FITTED]
        squared, each, constant = np.polyfit(_FITTED, counts, 2)
        left = [abs(each * t + squared * t * t - count) / count for t, count in zip(_FITTED, counts, strict=True)]
        if max(left) > 1e-3:
            raise ValueError(f"the counts {counts} at {_FITTED} frames are no a·T + b·T² (constant {constant:.3g}).")
        return cls(float(each), float(squared))

    def __call__(self, frames: int) -> float:
        return self.each * frames + self.squared * frames * frames


def main() -> int:
    """Count, measure, print, append the rows. The exit status."""
    options = _options()
    torch.set_grad_enabled(False)
    if options.measure is not None:
        print(json.dumps(_measured_here(options.model, options.measure, options.seconds[0])))
        return 0
    official = _untrained(DecoderConfig())
    own = SpeechDecoder.load(options.model / DECODER_FOLDER)
    where = {**environment(torch.device("cpu")), "threads": "1", "model": options.model.name}
    costs = [(decoder, StepCost.of(decoder)) for decoder in (official, own)]
    for seconds in options.seconds:
        counted = {
            mode: [_operations(decoder, step, mode, seconds) for decoder, step in costs] for mode in options.modes
        }
        measured = _measured(options, seconds, {mode: own for mode, (_, own) in counted.items()})
        for mode, (of_official, of_own) in counted.items():
            row = {
                "streaming": mode,
                "turn_s": seconds,
                "official_size_gflop_per_s": round(of_official / seconds / _GIGA, 1),
                "gflop_per_s": round(of_own / seconds / _GIGA, 2),
                **_of_runs(measured[mode], seconds),
            }
            print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            append_rows(options.results, [{**where, **row}])
    return 0


def _operations(decoder: SpeechDecoder, step: StepCost, mode: str, seconds: float) -> float:
    """Of a whole turn: every chunk's beginning and end as they are counted, and its Euler steps by `step`."""
    counting, of_steps = Counting(), 0.0

    def run(jobs: Sequence[ChunkJob]) -> list[ChunkResult]:
        nonlocal of_steps
        with counting:
            solvings = decoder.begin(jobs)
            of_steps += sum(EULER_STEPS * step(solving.frames) for solving in solvings)
            return decoder.finish([_as_done(solving) for solving in solvings])

    stream = decoder.stream(mode=mode, keep_chunks=False)
    for code in _codes(decoder, seconds):
        stream.feed([code])
        while (job := stream.next_job) is not None:
            stream.accept(run([job])[0])
    stream.end()
    while (job := stream.next_job) is not None:
        stream.accept(run([job])[0])
    return counting.total + of_steps


def _as_done(solving: Solving) -> Solving:
    return solving if solving.solve is None else solving.advanced(replace(solving.solve, step=EULER_STEPS))


def _of_step(decoder: SpeechDecoder, frames: int) -> int:
    """Operations of one Euler step of so many frames, the guidance's second half included."""
    [solve] = decoder.flow.start([FlowRequest([0] * frames)])  # a token makes several frames: enough, and cut to size
    rows = torch.cat([half[:frames] for half in solve.added.chunk(2)])
    with Counting() as counting:
        decoder.flow.step([replace(solve, x=solve.x[:frames], added=rows)])
    total: int = counting.total
    return total


def _measured(
    options: argparse.Namespace, seconds: float, operations: dict[str, float]
) -> dict[str, list[dict[str, float]]]:
    """CPU seconds and bytes of every run, by mode; the modes in turn."""
    measured: dict[str, list[dict[str, float]]] = {mode: [] for mode in options.modes}
    for _ in range(options.runs):
        for mode in options.modes:
            if operations[mode] / _GIGA / options.gflops <= options.patience:
                command = [sys.executable, "-m", "benchmarks.bench_speaking", "--model", str(options.model)]
                command += ["--seconds", str(seconds), "--measure", mode]
                told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                measured[mode].append(json.loads(told))
    return measured


def _measured_here(model: Path, mode: str, seconds: float) -> dict[str, float]:
    """One turn in this process, after a short one that is not counted."""
    torch.set_num_threads(1)
    decoder = SpeechDecoder.load(model / DECODER_FOLDER)
    _speak(decoder, mode, 2.0)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    held = _status_bytes("VmRSS")
    began = time.process_time()
    samples = _speak(decoder, mode, seconds)
    return {"cpu": time.process_time() - began, "bytes": _status_bytes("VmHWM") - held, "audio": samples / OUTPUT_RATE}


def _speak(decoder: SpeechDecoder, mode: str, seconds: float) -> int:
    """The samples of a turn whose wave nobody keeps."""
    stream = decoder.stream(mode=mode, keep_chunks=False)
    samples: int = sum(len(stream.push([code])) for code in _codes(decoder, seconds))
    return samples + len(stream.finish())


def _of_runs(runs: Sequence[dict[str, float]], seconds: float) -> dict[str, object]:
    if not runs:
        return {name: "" for name in ("runs", "cpu_p20", "cpu_p50", "cpu_p80", "memory_mb_p50", "audio_s")}
    cpu = Spread.of([run["cpu"] / run["audio"] for run in runs])
    return {
        "runs": len(runs),
        **{f"cpu_{name}": round(getattr(cpu, name), 4) for name in ("p20", "p50", "p80")},
        "memory_mb_p50": round(Spread.of([run["bytes"] / 1e6 for run in runs]).p50, 1),
        "audio_s": round(runs[0]["audio"], 3),
    }


def _codes(decoder: SpeechDecoder, seconds: float) -> list[int]:
    count = round(seconds * float(SPEECH_TOKEN_RATE))
    codes: list[int] = np.random.default_rng(0).integers(decoder.flow.config.vocab_size, size=count).tolist()
    return codes


def _untrained(config: DecoderConfig) -> SpeechDecoder:
    """A decoder of this size with weights that nothing was done to: only its shapes count."""
    with torch.device("meta"):
        flow, vocoder = Flow(config.flow), HiFT(config.vocoder)
    parts = [module.to_empty(device="cpu").eval().requires_grad_(False) for module in (flow, vocoder)]
    for part in parts:
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.zero_()
    return SpeechDecoder(flow, vocoder)


def _status_bytes(name: str) -> int:
    """A field of Linux's /proc/self/status that is in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a second of speech costs in long turns, by streaming mode.")
    parser.add_argument("--model", type=Path, default=_ROOT / "demo" / "checkpoint")
    parser.add_argument("--seconds", type=float, nargs="+", default=[5.0, 15.0, 60.0, 300.0], help="of the turns")
    parser.add_argument("--modes", nargs="+", choices=STREAMING_MODES, default=list(STREAMING_MODES))
    parser.add_argument("--runs", type=int, default=3, help="of each turn and mode")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds that one run may take by its operations")
    parser.add_argument("--gflops", type=float, default=20.0, help="what a thread here does in a second, roughly")
    parser.add_argument("--measure", choices=STREAMING_MODES, help="one run in this process, as JSON: for the bench")
    parser.add_argument("--results", type=Path, default=RESULTS / "speaking.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
