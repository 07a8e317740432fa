"""More than a minute of speech in one go: the assistant's own sentences through codes and back, over the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np

from antiphon.client import Client
from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE, SPEECH_TOKEN_RATE
from demo.judge.served import WIDE, speak
from demo.recipe.clips import make_clips
from demo.recipe.data import plan_tests
from demo.recipe.questions import sounds_of
from demo.recipe.scales import Scale

_SECONDS: Final = 66.0
_SEARCHED: Final = 1.0  # s around a boundary: the official scheme loses a mel frame at each join
_QUIET: Final = 0.05  # s: the stretch that is cut in


@dataclass(frozen=True)
class Minute:
    """The speech as it was received, cut where it is quiet near the boundaries of its sentences."""

    pieces: Sequence[np.ndarray]  # f32[n] at `rate`, one a text
    texts: Sequence[str]
    rate: int
    seconds: float
    took: float  # s until the last of it was there


async def spoken(target: str, work: Path, scale: Scale, seed: int) -> Minute:
    """Sentences of the recipe's test set "assistant" until they fill `_SECONDS`, repeated where they are too few."""
    plan = plan_tests(scale, seed)["assistant"]
    lines = [one.line for one in plan]
    clips = make_clips(work / "data" / "test-assistant", lines, MODEL_INPUT_RATE, workers=0, progress=lambda line: None)
    sounds = sounds_of(clips)
    codes: list[int] = []
    texts: list[str] = []
    ends = [0]
    async with Client(target) as client:
        while len(codes) < _SECONDS * float(SPEECH_TOKEN_RATE):
            index = len(texts) % len(sounds)
            codes += await client.tokenize(np.clip(sounds[index], -1.0, 1.0), WIDE.into)
            ends.append(len(codes))
            texts.append(lines[index].text)
        began = perf_counter()
        wave = await speak(client, codes)
        took = perf_counter() - began
    stretch = len(wave) / len(codes)  # samples of a token as they came
    cuts = [0, *(_quiet_near(wave, round(end * stretch)) for end in ends[1:-1]), len(wave)]
    return Minute([wave[a:b] for a, b in pairwise(cuts)], texts, OUTPUT_RATE, len(wave) / OUTPUT_RATE, took)


def _quiet_near(wave: np.ndarray, at: int) -> int:
    """The sample in the middle of the quietest stretch near `at`."""
    half, width = round(_SEARCHED / 2 * OUTPUT_RATE), round(_QUIET * OUTPUT_RATE)
    start = max(0, at - half)
    power = np.convolve(np.square(wave[start : at + half].astype(np.float64)), np.ones(width), "valid")
    return start + int(power.argmin()) + width // 2
