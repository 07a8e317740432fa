"""Telephone calls at once, in real time, over the network: do they stay in time?

    python -m benchmarks.bench_calls --model checkpoints/tiny [--callers 1 8] [--chunk 0.2] [--streaming seamless]

A server of its own process; each caller speaks a clip as 8 kHz µ-law at its own pace and plays the answer as it comes.
An underrun is a moment at which playback runs dry for more than one message. One caller is the baseline beside the
others.
Appends to results/calls.csv.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import antiphon
from antiphon.client import MULAW_8K, AudioOutput, CallConfig, ResponseCompleted, Sampling, TurnDetection
from antiphon.engine.device import resolve_device
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.speak.chunking import DEFAULT_STREAMING, STREAMING_MODES
from benchmarks.harness import RESULTS, Spread, append_rows, environment
from benchmarks.serving import CARRY_ALL, serving

CLIP = Path(__file__).parents[1] / "demo" / "clips" / "tt-weasels.wav"
PACKET = 160  # bytes: 20 ms
SILENCE = b"\xff" * PACKET


@dataclass(frozen=True)
class Played:
    """How one caller's answer came."""

    first_audio: float  # seconds from the end of the turn, by the server's clock
    late: float  # seconds that playback lagged at worst behind a player that never waits
    underruns: int
    audio_seconds: float


def main() -> None:
    """Measure, print, append the rows."""
    options = _options()
    pcm, rate = read_audio(options.clip)
    speech = MULAW_8K.encode(resample(pcm[0], rate, MULAW_8K.rate))
    where = environment(resolve_device(options.device))
    rows: list[dict[str, object]] = []
    with (
        serving(options.model, options.device, options.streaming, CARRY_ALL) as server,
        asyncio.Runner() as runner,
    ):
        runner.run(_calls(server.target, speech, 1, options))  # not counted
        for callers in options.callers:
            played = runner.run(_calls(server.target, speech, callers, options))
            first, late = Spread.of([one.first_audio for one in played]), Spread.of([one.late for one in played])
            underruns = sum(one.underruns for one in played)
            print(
                f"{callers:3} callers, {played[0].audio_seconds:.1f} s answered: first audio {first} s, "
                f"at worst {max(one.late for one in played):.3f} s late, {underruns} underruns"
            )
            rows.append(
                {
                    **where,
                    "model": options.model.name,
                    "streaming": options.streaming,
                    "callers": callers,
                    "chunk_s": options.chunk,
                    "answer_s": round(played[0].audio_seconds, 3),
                    **{f"first_audio_{name}_s": round(getattr(first, name), 4) for name in ("p20", "p50", "p80")},
                    **{f"late_{name}_s": round(getattr(late, name), 4) for name in ("p20", "p50", "p80")},
                    "late_worst_s": round(max(one.late for one in played), 4),
                    "underruns": underruns,
                }
            )
    append_rows(options.results, rows)
    print(f"appended {len(rows)} rows to {options.results}", file=sys.stderr)


async def _calls(target: str, speech: bytes, callers: int, options: argparse.Namespace) -> list[Played]:
    async with antiphon.Client(target) as client:
        return await asyncio.gather(*(_call(client, speech, caller, options) for caller in range(callers)))


async def _call(client: antiphon.Client, speech: bytes, caller: int, options: argparse.Namespace) -> Played:
    config = CallConfig(
        input_audio=MULAW_8K,
        output_audio=MULAW_8K,
        output_chunk=options.chunk,
        turn_detection=TurnDetection(),
        sampling=Sampling(temperature=0.0, max_output_tokens=options.max_output_tokens),
    )
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(0.05 * caller)
    async with client.call(config) as call:
        speaking = asyncio.create_task(_speak(call, speech))
        starts = received = late = 0.0
        underruns = 0
        async for event in call.events():
            match event:
                case AudioOutput():
                    now = clock()
                    starts = starts or now
                    lag = now - starts - received  # this message should have been here when `received` was played
                    if lag > 0:
                        late, starts = late + lag, starts + lag  # playback waited so long
                        underruns += lag > options.chunk
                    received += event.seconds
                case ResponseCompleted():
                    speaking.cancel()
                    return Played(event.timing.first_audio or 0.0, late, underruns, received)
    raise RuntimeError("the call ended before its answer did")


async def _speak(call: antiphon.client.Call, speech: bytes) -> None:
    clock = asyncio.get_running_loop().time
    begun, sent = clock(), 0
    while True:
        await call.push_audio(speech[sent * PACKET : (sent + 1) * PACKET] or SILENCE)
        sent += 1
        await asyncio.sleep(begun + sent * 0.02 - clock())


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Calls at once in real time: first audio, lateness, underruns.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--streaming", choices=STREAMING_MODES, default=DEFAULT_STREAMING)
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--chunk", type=float, default=0.2, help="seconds of audio in one message")
    parser.add_argument("--max-output-tokens", type=int, default=200)
    parser.add_argument("--results", type=Path, default=RESULTS / "calls.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
