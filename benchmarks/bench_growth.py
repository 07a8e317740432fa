"""What a second of speech costs as there is more of it: for 1 to 32 dialogues at once, and for turns of 5 to 60 s.

    python -m benchmarks.bench_growth [--model demo/checkpoint] [--dialogues 1 2 4 8 16 32] [--seconds 5 15 30 60]

An embedded engine on the CPU, one thread for one operation. Every dialogue asks the same recorded question and is
answered at once, as fast as the engine goes; nobody plays the answer. The model's own stops are out of reach, and an
answer ends with `<|user|>` once it has as many ids as speech of the wanted length took in a first answer, which is not
counted: the LM, the flow and the vocoder do their real work, and what is said means little. Rows tell how long the
answers came out.

CPU seconds are the process's, a second of speech made, hearing the question included. Shares are of them: a stage's is
what its packed forwards took, by the engine's clock, and the rest is what they did not: the loop's own work (taking in,
planning, splitting ids into text and speech, joining chunks, events), the callers' sessions in a thread beside it, and
Python's memory management. The engine's clock is no CPU time: where others take the CPU meanwhile, forwards take more
of it and the rest less, at worst below 0, and `cpus` is well below 1; and seamless mode, which cuts speech by how fast
it comes, cuts smaller and dearer pieces. Measure on a machine that does nothing else.
All settings are measured in turn, `--runs` times. Appends to results/growth.csv.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

import antiphon
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.speak.chunking import STREAMING_MODES, StreamingMode
from antiphon.engine.units import OUTPUT_RATE
from antiphon.events import AudioOutput, ResponseCompleted
from benchmarks.answer_length import ends_by_length
from benchmarks.harness import RESULTS, Spread, append_rows, environment

_ROOT: Final = Path(__file__).parents[1]
_FIRST_IDS: Final = 200  # of the answer that tells how many ids a second of speech takes
_STAGES: Final = ("hear", "think", "solve", "vocode")


@dataclass(frozen=True)
class Setting:
    """So many dialogues that are answered at once, each with so much speech."""

    growth: str  # what grows in the series that it belongs to: "dialogues" or "turn"
    streaming: StreamingMode
    dialogues: int
    seconds: float  # that an answer is to have


@dataclass(frozen=True)
class Run:
    """What one run of a setting took."""

    cpu: float  # s of the process
    wall: float  # s
    audio: float  # s of all answers
    loop: LoopSeconds

    @property
    def shares(self) -> dict[str, float]:
        """Of the CPU time: each stage's forwards, and the rest."""
        stages = {stage: getattr(self.loop, stage) / self.cpu for stage in _STAGES}
        return {**stages, "rest": 1.0 - sum(stages.values())}


@dataclass(frozen=True)
class Caller:
    """One dialogue of one turn."""

    question: np.ndarray  # f32[n]
    rate: int  # Hz

    async def ask(self, engine: antiphon.Engine, streaming: StreamingMode, ids: int, seed: int) -> float:
        """Seconds of the answer, which has so many ids."""
        sampling = antiphon.SamplingParams(temperature=0.2, top_p=0.8, seed=seed, max_new_tokens=ids)
        samples = 0
        async with engine.session(antiphon.SessionConfig(sampling=sampling, streaming=streaming)) as session:
            await session.push_audio(self.question, self.rate)
            await session.commit()
            async for event in session.events():
                if isinstance(event, AudioOutput):
                    samples += event.samples.size
                if isinstance(event, ResponseCompleted):
                    if event.failure is not None:
                        raise RuntimeError(f"an answer failed: {event.failure}")
                    return samples / OUTPUT_RATE
        raise RuntimeError("the session ended before its answer did")


def main() -> int:
    """Measure, print, append the rows. The exit status."""
    options = _options()
    torch.set_num_threads(1)
    pcm, rate = read_audio(options.clip)
    caller = Caller(pcm[0], rate)
    settings = [
        *(Setting("dialogues", mode, n, options.answer) for n in options.dialogues for mode in STREAMING_MODES),
        *(Setting("turn", mode, 1, seconds) for seconds in options.seconds for mode in STREAMING_MODES),
    ]
    runs: dict[Setting, list[Run]] = {setting: [] for setting in settings}
    with antiphon.Engine.load(options.model, "cpu") as engine, ends_by_length(engine.lm):
        for mode in STREAMING_MODES:  # the first runs of both are slower and are not counted
            ids_per_second = _FIRST_IDS / asyncio.run(caller.ask(engine, mode, _FIRST_IDS, seed=0))
        for number in range(options.runs):
            for setting in settings:
                runs[setting].append(asyncio.run(_run(engine, caller, setting, ids_per_second)))
                print(f"run {number + 1}: {setting}: {runs[setting][-1].cpu:.1f} CPU s", file=sys.stderr)
    where = {**environment(torch.device("cpu")), "model": options.model.name}
    rows = [{**where, **_row(setting, runs[setting])} for setting in settings]
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)
    return 0


async def _run(engine: antiphon.Engine, caller: Caller, setting: Setting, ids_per_second: float) -> Run:
    ids = round(setting.seconds * ids_per_second)
    before, cpu, wall = engine.seconds, time.process_time(), time.perf_counter()
    asked = (caller.ask(engine, setting.streaming, ids, seed) for seed in range(setting.dialogues))
    audio = sum(await asyncio.gather(*asked))
    while engine.stats.dialogues:  # they are closed in a step behind the last one that is to be counted
        await asyncio.sleep(0.001)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Run(cpu, wall, audio, engine.seconds.since(before))


def _row(setting: Setting, runs: Sequence[Run]) -> dict[str, object]:
    """A setting's figures, printed too."""
    cpu = Spread.of([run.cpu / run.audio for run in runs])
    shares = {part: Spread.of([run.shares[part] for run in runs]).p50 for part in runs[0].shares}
    rest = Spread.of([run.cpu * run.shares["rest"] / run.audio for run in runs])
    answer = Spread.of([run.audio / setting.dialogues for run in runs]).p50
    print(
        f"{setting.dialogues:3} dialogue(s) of {answer:4.1f} s, {setting.streaming:9}: {cpu} CPU s a second of speech; "
        + ", ".join(f"{part} {share:.1%}" for part, share in shares.items())
    )
    return {
        "growth": setting.growth,
        "streaming": setting.streaming,
        "dialogues": setting.dialogues,
        "asked_s": setting.seconds,
        "answer_s": round(answer, 3),
        "runs": len(runs),
        **{f"cpu_s_per_speech_s_{name}": round(getattr(cpu, name), 4) for name in ("p20", "p50", "p80")},
        **{f"{part}_share_p50": round(share, 4) for part, share in shares.items()},
        **{f"rest_s_per_speech_s_{name}": round(getattr(rest, name), 4) for name in ("p20", "p50", "p80")},
        "cpus_p50": round(Spread.of([run.cpu / run.wall for run in runs]).p50, 3),
    }


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU seconds a second of speech, as dialogues and turns grow.")
    parser.add_argument("--model", type=Path, default=_ROOT / "demo" / "checkpoint")
    parser.add_argument("--clip", type=Path, default=_ROOT / "demo" / "clips" / "tt-weasels.wav", help="what is asked")
    parser.add_argument(
        "--dialogues", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32], help="that are answered at once"
    )
    parser.add_argument("--answer", type=float, default=5.0, help="seconds of each of their answers")
    parser.add_argument("--seconds", type=float, nargs="*", default=[5.0, 15.0, 30.0, 60.0], help="of a turn alone")
    parser.add_argument("--runs", type=int, default=3, help="of each setting")
    parser.add_argument("--results", type=Path, default=RESULTS / "growth.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
