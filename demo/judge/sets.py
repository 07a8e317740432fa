"""The sets of questions that are asked: the recipe's own test sets, what is no speech, and the committed clips."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import resample
from antiphon.engine.units import MODEL_INPUT_RATE
from demo.judge.served import Question
from demo.recipe import domain
from demo.recipe.clips import make_clips
from demo.recipe.data import plan_tests
from demo.recipe.questions import kind_of_unknown, sounds_of
from demo.recipe.scales import Scale
from demo.recipe.tokens import no_speech

COMMITTED: Final = Path(__file__).parents[1] / "clips" / "questions"
LIST_FILE: Final = "questions.json"
DOMAIN_SETS: Final = ("known", "sums", "voices", "delivery")
_KINDS_OF_NO_SPEECH: Final = ("silence", "noise", "tones")


def committed(folder: Path = COMMITTED) -> list[Question]:
    """The clips that lie in the repository, in their order: nothing need be installed to ask them."""
    questions = []
    for entry in _entries(folder):
        pcm, rate = read_audio(folder / entry["file"])
        questions.append(Question(resample(pcm[0], rate, MODEL_INPUT_RATE), entry["question"], entry["answer"]))
    return questions


def listed(folder: Path = COMMITTED) -> list[tuple[Path, str]]:
    """The same as files, each with what is said."""
    return [(folder / entry["file"], entry["question"]) for entry in _entries(folder)]


def _entries(folder: Path) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads((folder / LIST_FILE).read_text())
    return entries


def drawn(
    work: Path, scale: Scale, seed: int, count: int, progress: Callable[[str], None]
) -> Mapping[str, list[Question]]:
    """`count` of each test set, and of everything outside the domain by its kind.

    The recordings are those of the recipe's stage `data` under `work`; what is missing espeak-ng speaks now.
    """
    sets: dict[str, list[Question]] = defaultdict(list)
    plans = plan_tests(scale, seed)
    for name in (*DOMAIN_SETS, "unknown"):
        plan = plans[name]
        clips = make_clips(
            work / "data" / f"test-{name}", [a.line for a in plan], MODEL_INPUT_RATE, workers=0, progress=progress
        )
        for sound, asked in zip(sounds_of(clips), plan, strict=True):
            assert asked.exchange is not None, f"the test set {name!r} has questions alone"
            key = kind_of_unknown(asked) if name == "unknown" else name
            if len(sets[key]) < count:
                sets[key].append(Question(sound, asked.line.text, asked.exchange.answer))
    sounds = no_speech(count, np.random.default_rng((seed, 71)))
    for number, kind in enumerate(_KINDS_OF_NO_SPEECH):
        sets[kind] = [Question(sound, "", domain.UNKNOWN["en"]) for sound in sounds[number::3]]
    return sets
