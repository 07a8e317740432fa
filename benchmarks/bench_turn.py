"""One spoken turn: first audio by stage, and the real-time factor, beside the same turn without streaming.

    python -m benchmarks.bench_turn --model checkpoints/tiny [--seconds 1 4 10] [--runs 5] [--device cpu]

Streamed, in each mode: through an embedded engine, as a caller has it who speaks at a pace the engine can follow, and
commits without a pause. Unstreamed, the baseline: `encode`, `generate`, then the whole answer's mel and wave in one
shot. Runs of all alternate, so that a machine that slows down slows all.
With `--ids` every answer has so many, whatever the model would say: an answer of a toy may be shorter than the first
chunk of reference mode, which then is spoken before it is full.
Appends to results/turn.csv.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import antiphon
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.speak.chunking import STREAMING_MODES
from antiphon.events import AudioOutput, ResponseCompleted, Timing
from benchmarks.answer_length import ends_by_length
from benchmarks.harness import RESULTS, Spread, append_rows, environment

CLIP = Path(__file__).parents[1] / "demo" / "clips" / "tt-weasels.wav"


@dataclass(frozen=True)
class Streamed:
    """What one streamed turn took."""

    timing: Timing
    audio_seconds: float


def main() -> None:
    """Measure, print a table, append the rows."""
    options = _options()
    pcm, rate = read_audio(options.clip)
    rows = []
    with ExitStack() as stack:
        engine = stack.enter_context(antiphon.Engine.load(options.model, options.device, options.dtype))
        if options.ids:
            stack.enter_context(ends_by_length(engine.lm))
        where = environment(engine.lm.model.device)
        print(f"{where['device']}; torch {where['torch']}; {options.model}, {options.dtype}", file=sys.stderr)
        for seconds in options.seconds:
            question = np.resize(pcm[0], int(seconds * rate))
            about = {**where, "model": options.model.name, "dtype": options.dtype}
            rows += [{**about, **row} for row in _measure(engine, question, rate, options)]
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)


def _measure(
    engine: antiphon.Engine, question: np.ndarray, rate: int, options: argparse.Namespace
) -> list[dict[str, object]]:
    """A row for each mode: `options.runs` turns of each and unstreamed ones in turn, after one of each not counted."""
    sampling = antiphon.SamplingParams(temperature=0.0, max_new_tokens=options.ids or options.max_new_tokens)
    streamed: dict[str, list[Streamed]] = {mode: [] for mode in STREAMING_MODES}
    whole: list[float] = []
    for run in range(options.runs + 1):
        for mode, turns in streamed.items():
            config = antiphon.SessionConfig(sampling=sampling, streaming=mode)
            turns.append(asyncio.run(_streamed_turn(engine, config, question, rate)))
        whole.append(_unstreamed_turn(engine, question, rate, options))
        if run == 0:
            streamed = {mode: [] for mode in STREAMING_MODES}
            whole = []
    return [_row(mode, question.size / rate, options.ids, turns, Spread.of(whole)) for mode, turns in streamed.items()]


def _row(mode: str, seconds: float, ids: int, turns: Sequence[Streamed], unstreamed: Spread) -> dict[str, object]:
    first = Spread.of([one.timing.first_audio or 0.0 for one in turns])
    factor = Spread.of([one.timing.total / one.audio_seconds for one in turns])
    stages = [one.timing.stages_to_first_audio for one in turns]
    by_stage = {
        name: Spread.of([getattr(stage, name) for stage in stages if stage is not None]).p50
        for name in ("hear", "prefill", "decode", "speak")
    }
    print(
        f"{seconds:5.1f} s asked, {turns[0].audio_seconds:.1f} s answered, {mode}: first audio {first} s = "
        + " + ".join(f"{name} {stage:.3f}" for name, stage in by_stage.items())
        + f"; real-time factor {factor}; unstreamed {unstreamed} s, {unstreamed.p50 / first.p50:.1f}x the first audio"
    )
    return {
        "streaming": mode,
        "question_s": seconds,
        "answer_ids": ids,  # 0: as many as the model would
        "answer_s": round(turns[0].audio_seconds, 3),
        "runs": len(turns),
        **{f"first_audio_{name}_s": round(getattr(first, name), 4) for name in ("p20", "p50", "p80")},
        **{f"to_first_audio_{name}_s": round(stage, 4) for name, stage in by_stage.items()},
        **{f"real_time_factor_{name}": round(getattr(factor, name), 4) for name in ("p20", "p50", "p80")},
        **{f"unstreamed_{name}_s": round(getattr(unstreamed, name), 4) for name in ("p20", "p50", "p80")},
        "unstreamed_over_first_audio": round(unstreamed.p50 / first.p50, 2),
    }


async def _streamed_turn(
    engine: antiphon.Engine, config: antiphon.SessionConfig, question: np.ndarray, rate: int
) -> Streamed:
    """The question comes a second at a time, each when the engine has done what it can with those before it."""
    samples = 0
    async with engine.session(config) as session:
        for start in range(0, question.size, rate):
            await session.push_audio(question[start : start + rate], rate)
            await _until_idle(engine)
        await session.commit()
        async for event in session.events():
            if isinstance(event, AudioOutput):
                samples += event.samples.size
            if isinstance(event, ResponseCompleted):
                return Streamed(event.timing, samples / 22_050)
    raise RuntimeError("the session ended before its answer did")


async def _until_idle(engine: antiphon.Engine) -> None:
    """Until two looks, further apart than any step of the tiny models, find the same."""
    before = None
    while (now := engine.stats) != before:
        before = now
        await asyncio.sleep(0.05)


def _unstreamed_turn(engine: antiphon.Engine, question: np.ndarray, rate: int, options: argparse.Namespace) -> float:
    """Seconds until the whole answer is there, stage after stage."""
    begun = time.perf_counter()
    prompt = engine.lm.chat_prompt([engine.tokenizer.encode(question, rate)])
    answer = engine.lm.generate(prompt, max_new_tokens=options.ids or options.max_new_tokens)
    vocabulary = engine.lm.vocabulary
    mel = engine.decoder.mel([vocabulary.speech_code(token) for token in answer if vocabulary.is_speech(token)])
    source = np.zeros(mel.shape[1] * 256, np.float32)  # the baseline's wave is not listened to
    engine.decoder.f0(mel)
    engine.decoder.vocode(mel, source)
    return time.perf_counter() - begun


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="First audio by stage and real-time factor of one spoken turn.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clip", type=Path, default=CLIP, help="repeated to the length of each question")
    parser.add_argument(
        "--seconds", type=float, nargs="+", default=[1.0, 4.0, 10.0, 30.0], help="lengths of the questions"
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each length")
    parser.add_argument("--max-new-tokens", type=int, default=400)
    parser.add_argument("--ids", type=int, default=0, help="of every answer (default: the model ends it)")
    parser.add_argument("--results", type=Path, default=RESULTS / "turn.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
