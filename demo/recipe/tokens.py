"""Every clip as speech codes, by the trained tokenizer: the assistant's as they are, the users' augmented."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.units import MODEL_INPUT_RATE
from demo.recipe import augment
from demo.recipe.clips import ClipSet
from demo.recipe.data import Corpus
from demo.recipe.hearing import at_model_rate
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage

Codes = list[list[int]]  # of each clip
_AT_ONCE: Final = 32
_CHUNK: Final = 1_024  # clips of one file
_NO_SPEECH_KINDS: Final = ("silence", "noise", "tones")
_NO_SPEECH_SHARE: Final = 0.02  # of the users' clips, of each kind
_NO_SPEECH_SECONDS: Final = (0.4, 4.0)


def run(stage: Stage, corpus: Corpus, scale: Scale, seed: int, tokenizer: SpeechTokenizer) -> None:
    """Encode the assistant once, the users `copies` times, and what is no speech."""
    answers = _encode_set(stage, "assistant", corpus.assistant, tokenizer, lambda index: None)
    for copy in range(scale.copies):
        _encode_set(
            stage,
            f"users-{copy}",
            corpus.users,
            tokenizer,
            lambda index, copy=copy: np.random.default_rng((seed, 30, copy, index)),  # type: ignore[misc]
        )
    sounds = no_speech(max(2, round(_NO_SPEECH_SHARE * len(corpus.users))), np.random.default_rng((seed, 31)))
    _write(stage.folder / "no-speech.0000.npz", _encode(tokenizer, sounds))
    used = len({code for codes in answers for code in codes})
    stage.finish(assistant_codes_used=used, assistant_codes=sum(map(len, answers)))


def no_speech(each: int, random: np.random.Generator) -> list[np.ndarray]:
    """Silence, noise and tones, `each` times, f32 at 16 kHz."""
    sounds = []
    for _ in range(each):
        seconds = random.uniform(*_NO_SPEECH_SECONDS, size=3)
        sounds += [
            augment.silence(seconds[0]) + 1e-4 * random.random() * augment.noise(seconds[0], random),
            augment.noise(seconds[1], random),
            augment.tones(seconds[2], random),
        ]
    return sounds


def load(stage: Stage, name: str) -> Codes:
    """The codes of "assistant", "users-0", …, "no-speech"."""
    return [codes for path in sorted(stage.folder.glob(f"{name}.*.npz")) for codes in _read(path)]


def _encode_set(
    stage: Stage,
    name: str,
    clips: ClipSet,
    tokenizer: SpeechTokenizer,
    randomness: Callable[[int], np.random.Generator | None],
) -> Codes:
    """All clips of a set, in files of `_CHUNK`; those that are there are kept. No randomness: as they are."""
    for start in range(0, len(clips), _CHUNK):
        path = stage.folder / f"{name}.{start // _CHUNK:04d}.npz"
        if path.exists():
            continue
        sounds = []
        for index in range(start, min(start + _CHUNK, len(clips))):
            samples, random = at_model_rate(clips[index].samples, clips.rate), randomness(index)
            sound = samples.astype(np.float32) / 32_768
            sounds.append(sound if random is None else augment.augmented(samples, random)[0])
        _write(path, _encode(tokenizer, sounds))
        stage.say(f"tokens: {name}, {min(start + _CHUNK, len(clips))} of {len(clips)} clips")
    return load(stage, name)


def _encode(tokenizer: SpeechTokenizer, sounds: Sequence[np.ndarray]) -> Codes:
    return [
        codes
        for start in range(0, len(sounds), _AT_ONCE)
        for codes in tokenizer.encode_batch([(s, MODEL_INPUT_RATE) for s in sounds[start : start + _AT_ONCE]])
    ]


def _write(path: Path, codes: Codes) -> None:
    partial = path.with_suffix(".part.npz")
    np.savez(
        partial,
        codes=np.array([code for one in codes for code in one], np.int16),
        ends=np.cumsum([len(one) for one in codes]),
    )
    partial.replace(path)


def _read(path: Path) -> Codes:
    with np.load(path) as stored:
        flat, ends = stored["codes"].tolist(), stored["ends"].tolist()
    return [flat[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]
