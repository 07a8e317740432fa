"""Does anything pile up? Memory and everything held after many turns, and after many cancels at random moments.

    python -m benchmarks.bench_soak --model checkpoints/tiny [--turns 10000] [--cancels 10000] [--minutes 90]

Turns: an embedded engine, sixteen dialogues at a time of five turns each, short answers, spoken and written questions;
resident memory when 100 turns are over, and when all are, nothing being open at either moment and the engine idle for
long enough to have handed back what it can. Cancels: the loop by itself on a virtual clock (benchmarks/soak.py),
callers who interrupt, hang up and come back at random moments, on a large KV pool and on one with pages for one
dialogue; then everything is counted. Neither waits for playback.
Whatever is left when `--minutes` are over is not done, and the row says how much was. Appends to results/soak.csv.
"""

import argparse
import asyncio
import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

import antiphon
from antiphon.engine.config import EngineConfig
from antiphon.engine.engine import IDLE_SECONDS
from antiphon.engine.events import FinishReason, ResponseCompleted
from benchmarks.harness import RESULTS, append_rows, environment
from benchmarks.soak import walk

_RATE: Final = 8_000
_DIALOGUES: Final = 16  # at once
_TURNS: Final = 5  # of each dialogue
_ACTS: Final = 2  # of callers between a few steps: nine of ten answers are cut, each at a moment of its own
_SAMPLING: Final = antiphon.SamplingParams(
    temperature=0.2, top_p=0.8, seed=1, max_new_tokens=16
)  # 13 of text, 3 of speech
_FOR_TURNS: Final = 0.6  # of the time
# A pool, the share of the cancels that are done by its end, and of the time.
_POOLS: Final = ((EngineConfig(), 0.8, 0.9), (EngineConfig(kv_tokens=768), 1.0, 1.0))


def main() -> int:
    """Soak, print, append the row. The exit status: 1 when something was left."""
    options = _options()
    begun, seconds = time.monotonic(), 60 * options.minutes
    with antiphon.Engine.load(options.model, "cpu") as engine:
        where = environment(engine.lm.model.device)
        early, late, turns = asyncio.run(_turns(engine, options, begun + _FOR_TURNS * seconds))
        stats = engine.stats
        held = [stats.dialogues, stats.turns, stats.clips, stats.total_pages - stats.free_pages]
        cancels, left = 0, [0, 0, 0]
        for config, share, time_share in _POOLS:
            count = round(share * options.cancels) - cancels
            done, found = _cancels(engine, config, count, begun + time_share * seconds)
            cancels, left = cancels + done, [one + other for one, other in zip(left, found, strict=True)]
    print(
        f"{turns} turns: {late / 2**20:.1f} MiB, {early / 2**20:.1f} MiB after {options.early}; "
        f"dialogues, turns, clips, pages held: {held}\n"
        f"{cancels} cancels at random moments; dialogues, turns, pages held: {left}"
    )
    row: dict[str, object] = {
        **where,
        "model": options.model.name,
        "turns": turns,
        "rss_early_mib": round(early / 2**20, 1),
        "rss_late_mib": round(late / 2**20, 1),
        "early_turns": options.early,
        "held_after_turns": sum(held),
        "cancels": cancels,
        "held_after_cancels": sum(left),
    }
    append_rows(options.results, [row])
    return 1 if any(held) or any(left) else 0


async def _turns(engine: antiphon.Engine, options: argparse.Namespace, deadline: float) -> tuple[int, int, int]:
    """Resident bytes after `options.early` turns and after all, and how many those were."""
    random = np.random.default_rng(0)
    done, early = 0, 0
    while done < options.turns and time.monotonic() < deadline:
        done += sum(await asyncio.gather(*(_dialogue(engine, random) for _ in range(_DIALOGUES))))
        if not early and done >= options.early:
            early = await _resident_at_rest()
        _tell(f"{done} of {options.turns} turns, {resident() / 2**20:.1f} MiB")
    _tell("")
    return early, await _resident_at_rest(), done


async def _dialogue(engine: antiphon.Engine, random: np.random.Generator) -> int:
    """How many turns it had."""
    async with engine.session(antiphon.SessionConfig(sampling=_SAMPLING)) as session:
        for turn in range(_TURNS):
            if turn % 2:
                await session.push_text("and then?")
            else:
                pcm = random.normal(scale=0.1, size=int(random.integers(1, _RATE))).astype(np.float32)
                await session.push_audio(np.clip(pcm, -1.0, 1.0), _RATE)
            await session.commit()
            async for event in session.events():
                if isinstance(event, ResponseCompleted):
                    assert event.failure is None, event.failure
                    break
    return _TURNS


def _cancels(engine: antiphon.Engine, config: EngineConfig, count: int, deadline: float) -> tuple[int, list[int]]:
    """How many answers were cut, and the dialogues, turns and pages that are held once everybody has gone."""
    stroll = walk(engine.tokenizer, engine.lm, engine.decoder, seed=7, config=config)
    while stroll.answers[FinishReason.INTERRUPTED] < count and time.monotonic() < deadline:
        stroll.round(_DIALOGUES, _ACTS)
        if stroll.opened % 20 == 0:
            _tell(f"{stroll.answers[FinishReason.INTERRUPTED]} of {count} cancels")
    stroll.finish()
    _tell("")
    assert not stroll.faults, stroll.faults
    stats = stroll.loop.stats
    return stroll.answers[FinishReason.INTERRUPTED], [
        stats.dialogues,
        stats.turns,
        stats.total_pages - stats.free_pages,
    ]


async def _resident_at_rest() -> int:
    await asyncio.sleep(IDLE_SECONDS + 1)
    return resident()


def resident() -> int:
    """Bytes of this process in memory. man 5 proc: statm."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _tell(line: str) -> None:
    """Written over, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What piles up over many turns and many cancels.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--early", type=int, default=100, help="turns after which memory is read first")
    parser.add_argument("--cancels", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=90.0, help="after which it ends, done or not")
    parser.add_argument("--results", type=Path, default=RESULTS / "soak.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
