"""One spoken turn: first audio by stage, and the real-time factor, beside the same turn without streaming.

    python benchmarks/bench_turn.py --model checkpoints/tiny [--seconds 1 4 10] [--runs 5] [--device cpu]

Streamed: through an embedded engine, as a caller has it. Unstreamed, the baseline: `encode`, `generate`, then the
whole answer's mel and wave in one shot. Runs of the two alternate, so that a machine that slows down slows both.
Appends to results/turn.csv.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import RESULTS, Spread, append_rows, environment

import antiphon
from antiphon.engine.hear.codec import read_audio
from antiphon.events import AudioOutput, ResponseCompleted, Timing

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
    with antiphon.Engine.load(options.model, options.device, options.dtype) as engine:
        where = environment(engine.lm.model.device)
        print(f"{where['device']}; torch {where['torch']}; {options.model}, {options.dtype}", file=sys.stderr)
        for seconds in options.seconds:
            question = np.resize(pcm[0], int(seconds * rate))
            rows.append(
                {
                    **where,
                    "model": options.model.name,
                    "dtype": options.dtype,
                    **_measure(engine, question, rate, options),
                }
            )
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)


def _measure(
    engine: antiphon.Engine, question: np.ndarray, rate: int, options: argparse.Namespace
) -> dict[str, object]:
    """One row: `options.runs` streamed and unstreamed turns in turn, after one of each that is not counted."""
    config = antiphon.SessionConfig(
        sampling=antiphon.SamplingParams(temperature=0.0, max_new_tokens=options.max_new_tokens)
    )
    streamed: list[Streamed] = []
    whole: list[float] = []
    for run in range(options.runs + 1):
        one, alone = (
            asyncio.run(_streamed_turn(engine, config, question, rate)),
            _unstreamed_turn(engine, question, rate, options),
        )
        if run > 0:
            streamed.append(one)
            whole.append(alone)
    first = Spread.of([one.timing.first_audio or 0.0 for one in streamed])
    factor = Spread.of([one.timing.total / one.audio_seconds for one in streamed])
    unstreamed = Spread.of(whole)
    stages = [one.timing.stages_to_first_audio for one in streamed]
    by_stage = {
        name: Spread.of([getattr(stage, name) for stage in stages if stage is not None]).p50
        for name in ("hear", "prefill", "decode", "speak")
    }
    print(
        f"{question.size / rate:5.1f} s asked, {streamed[0].audio_seconds:.1f} s answered: first audio {first} s = "
        + " + ".join(f"{name} {seconds:.3f}" for name, seconds in by_stage.items())
        + f"; real-time factor {factor}; unstreamed {unstreamed} s, {unstreamed.p50 / first.p50:.1f}x the first audio"
    )
    return {
        "question_s": question.size / rate,
        "answer_s": round(streamed[0].audio_seconds, 3),
        "runs": options.runs,
        **{f"first_audio_{name}_s": round(getattr(first, name), 4) for name in ("p20", "p50", "p80")},
        **{f"to_first_audio_{name}_s": round(seconds, 4) for name, seconds in by_stage.items()},
        **{f"real_time_factor_{name}": round(getattr(factor, name), 4) for name in ("p20", "p50", "p80")},
        **{f"unstreamed_{name}_s": round(getattr(unstreamed, name), 4) for name in ("p20", "p50", "p80")},
        "unstreamed_over_first_audio": round(unstreamed.p50 / first.p50, 2),
    }


async def _streamed_turn(
    engine: antiphon.Engine, config: antiphon.SessionConfig, question: np.ndarray, rate: int
) -> Streamed:
    """The question is pushed whole at once, so nothing of it is encoded before the commit that the clock starts at."""
    samples = 0
    async with engine.session(config) as session:
        await session.push_audio(question, rate)
        await session.commit()
        async for event in session.events():
            if isinstance(event, AudioOutput):
                samples += event.samples.size
            if isinstance(event, ResponseCompleted):
                return Streamed(event.timing, samples / 22_050)
    raise RuntimeError("the session ended before its answer did")


def _unstreamed_turn(engine: antiphon.Engine, question: np.ndarray, rate: int, options: argparse.Namespace) -> float:
    """Seconds until the whole answer is there, stage after stage."""
    begun = time.perf_counter()
    prompt = engine.lm.chat_prompt([engine.tokenizer.encode(question, rate)])
    answer = engine.lm.generate(prompt, max_new_tokens=options.max_new_tokens)
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
    parser.add_argument("--results", type=Path, default=RESULTS / "turn.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
