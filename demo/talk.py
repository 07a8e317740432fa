"""`make talk`: ask the checkpoint by voice and hear what it says.

    python -m demo.talk [CLIP…] [--model demo/checkpoint] [--out out/answer.wav]

Without clips, three questions of `demo/clips/questions`, one of them in Mandarin. One engine, streamed as a caller has
it. Writes each answer beside --out (answer-1.wav, …), all of them in --out, and its spectrogram (answer.png).
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

import antiphon
from antiphon.engine.errors import AntiphonError
from antiphon.engine.hear.codec import read_audio, write_wav
from antiphon.engine.units import OUTPUT_RATE
from antiphon.engine.weights.manifest import MANIFEST_FILE
from demo.judge import files, sets
from demo.judge.recogniser import Judge
from demo.picture import spectrogram
from demo.turn import Turn, one_turn

_ASKED: Final = 3
_PAUSE: Final = 0.4  # s between the answers in the file that has them all
CHECKPOINT: Final = Path(__file__).parent / "checkpoint"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, print, write. The exit status."""
    options = _options(arguments)
    try:
        return _talk(options)
    except AntiphonError as error:
        print(f"demo.talk: {error}", file=sys.stderr)
        return 1


def _talk(options: argparse.Namespace) -> int:
    questions = [(path, None) for path in options.clips] or sets.listed()[:_ASKED]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sounds = [read_audio(clip) for clip, _ in questions]
    with antiphon.Engine.load(options.model, options.device) as engine:
        answers = [asyncio.run(one_turn(engine, pcm[0], rate)) for pcm, rate in sounds]
    # The judge comes after the engine: a second team of threads makes both slower (antiphon/engine/device.py).
    judge = files.load() if (files.WEIGHTS / MANIFEST_FILE).is_file() else None
    for number, ((clip, text), (pcm, rate), one) in enumerate(zip(questions, sounds, answers, strict=True), start=1):
        path = options.out.with_stem(f"{options.out.stem}-{number}")
        write_wav(path, one.wave, OUTPUT_RATE)
        _tell(clip, text, _heard(judge, pcm[0], rate), one, _heard(judge, one.wave, OUTPUT_RATE), path)
    pause = np.zeros(int(_PAUSE * OUTPUT_RATE), np.float32)
    whole = np.concatenate([piece for one in answers for piece in (one.wave, pause)])
    write_wav(options.out, whole, OUTPUT_RATE)
    picture = options.out.with_suffix(".png")
    spectrogram(picture, whole)
    print(f"\n{options.out}: all answers, {len(whole) / OUTPUT_RATE:.2f} s; {picture}: their spectrogram")
    return 0


def _heard(judge: Judge | None, wave: np.ndarray, rate: int) -> str | None:
    """What the judge hears; None without one, or where there is nothing to hear."""
    return None if judge is None or not wave.size else judge.hear([(wave, rate)])[0]


def _tell(clip: Path, asked: str | None, heard: str | None, one: Turn, spoken: str | None, path: Path) -> None:
    print(f"\nasked  {clip}" + (f': "{asked}"' if asked else "") + (f"  (the judge hears: {heard})" if heard else ""))
    print(f"says   {one.text}" + (f"  (the judge hears: {spoken})" if spoken else ""))
    timing = one.timing
    if one.seconds and timing.first_audio is not None:
        print(
            f"in     {path}: {one.seconds:.2f} s; first audio after {timing.first_audio:.2f} s, "
            f"real-time factor {timing.total / one.seconds:.2f}"
        )
    else:
        print("in     no speech")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.talk", description="Ask the checkpoint by voice.")
    parser.add_argument("clips", type=Path, nargs="*", metavar="CLIP", help="default: three committed questions")
    parser.add_argument("--model", type=Path, default=CHECKPOINT, help="default: demo/checkpoint")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/answer.wav"), help="default: %(default)s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
