"""The questions that lie in the repository as sound, so that the checkpoint can be asked without espeak-ng.

    python -m demo.recipe.asked_clips

writes `demo/clips/questions` anew: FLAC at 16 kHz, as espeak-ng said them, and `questions.json` with what is said and
what is to be answered. Speakers are of the training's voices; three sums stand in no training.
"""

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np

from antiphon.engine.units import MODEL_INPUT_RATE
from demo.judge.sets import COMMITTED, LIST_FILE
from demo.recipe import domain
from demo.recipe.clips import Line, make_clips
from demo.recipe.domain import Exchange
from demo.recipe.voices import user

# The first three are what `make talk` asks.
_QUESTIONS: Final = (
    "what is two plus three",
    "what is the opposite of hot",
    "你好吗",
    "what is twelve plus seven",
    "how much is nine plus zero",
    "please add one and sixteen",
    "三加一等于几",
    "十加十是多少",
    "count to four",
    "what comes after thirteen",
    "what day comes after friday",
    "what day comes before monday",
    "say the opposite of early",
    "what colour is grass",
    "tell me the colour of snow",
    "hello",
    "what is your name",
    "你叫什么名字",
    "spell dog",
    "how do you spell tree",
)
_HELD_OUT: Final = 3  # sums
_UNKNOWN: Final = "why does the river window"
_SEED: Final = 24


def main() -> int:
    """Write the clips. The exit status."""
    random = np.random.default_rng(_SEED)
    known = {exchange.question: exchange for exchange in domain.known_exchanges()}
    exchanges = [known[question] for question in _QUESTIONS]
    sums = list(domain.sums("en", held_out=True))
    exchanges += [sums[int(index)] for index in random.choice(len(sums), _HELD_OUT, replace=False)]
    exchanges.append(Exchange(_UNKNOWN, domain.UNKNOWN["en"], "unknown"))
    lines = [Line(one.question, user(one.language, random), one.language) for one in exchanges]
    clips = make_clips(Path(sys.argv[1]), lines, MODEL_INPUT_RATE, workers=0, progress=lambda line: None)
    COMMITTED.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, exchange in enumerate(exchanges):
        name = f"{index:02d}.flac"
        write_flac(COMMITTED / name, clips[index].samples, MODEL_INPUT_RATE)
        entries.append(
            {
                "file": name,
                "question": exchange.question,
                "answer": exchange.answer,
                "kind": exchange.kind,
                "held_out": exchange in sums,
                "voice": lines[index].speaker.voice,
            }
        )
    (COMMITTED / LIST_FILE).write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    return 0


def write_flac(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write i16[n] as FLAC."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        container.mux([*stream.encode(frame), *stream.encode(None)])


if __name__ == "__main__":
    sys.exit(main())
