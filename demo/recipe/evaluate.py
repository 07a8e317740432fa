"""The exported checkpoint, asked by voice and heard by the judge: every figure of the model card.

Everything goes through the engine's public face, on the files that are shipped.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from antiphon import LanguageModel, SpeechDecoder, SpeechTokenizer
from antiphon.client import MULAW_8K
from antiphon.engine.hear.codec import decode_mu_law
from antiphon.engine.hear.resample import resample
from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from demo.judge.recogniser import Judge
from demo.judge.score import heard_right, original_error, shuffled_right
from demo.recipe import augment, domain
from demo.recipe.bars import ALONE, BY_TELEPHONE, MOST, ORIGINALS, RESYNTHESIS, THREADS
from demo.recipe.clips import ClipSet
from demo.recipe.data import Asked, Recordings
from demo.recipe.questions import (
    LONGEST,
    Answered,
    Share,
    answer,
    ask_in_text,
    ask_recordings,
    kind_of_unknown,
    share_right,
    sounds_of,
)
from demo.recipe.speed import speed_alone
from demo.recipe.spelled import word_error_rate
from demo.recipe.tokens import no_speech

# Answers of each set that are spoken and judged: most of what the bars are about.
_HEARD: Final = {"known": 160, "sums": 200, "voices": 120, "delivery": 40, "unknown": 40}
_NARROW: Final = "known, 8 kHz µ-law in, all of 0 to 4,000 Hz"
_HEARD_BY_TELEPHONE: Final = 120
_RESYNTHESISED: Final = 80  # sentences
_NO_SPEECH: Final = 40  # of silence, of noise and of tones
_DIALOGUES: Final = 100  # of two turns
_TIMED: Final = 24  # single turns
_AT_ONCE: Final = 16  # answers that are spoken together

Figures = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """The three models of a folder."""

    folder: Path
    tokenizer: SpeechTokenizer
    lm: LanguageModel
    decoder: SpeechDecoder

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """On the CPU, in float32: as a newcomer runs it."""
        return cls(
            folder,
            SpeechTokenizer.load(folder / TOKENIZER_FOLDER),
            LanguageModel.load(folder / LANGUAGE_MODEL_FOLDER),
            SpeechDecoder.load(folder / DECODER_FOLDER),
        )

    def speak(self, answers: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """f32 at 22.05 kHz of each answer's codes, streamed as callers have it; silence for no codes."""
        waves: list[np.ndarray] = []
        for start in range(0, len(answers), _AT_ONCE):
            waves += self._speak_together(answers[start : start + _AT_ONCE])
        return waves

    def _speak_together(self, answers: Sequence[Sequence[int]]) -> list[np.ndarray]:
        pieces = [[np.zeros(0 if codes else 1, np.float32)] for codes in answers]
        streams = {index: self.decoder.stream(keep_chunks=False) for index, codes in enumerate(answers) if codes}
        for index, stream in streams.items():
            stream.feed(list(answers[index]))
            stream.end()
        while due := [(index, job) for index, stream in streams.items() if (job := stream.next_job) is not None]:
            for (index, _), result in zip(due, self.decoder.run([job for _, job in due]), strict=True):
                pieces[index].append(streams[index].accept(result))
        return [np.concatenate(some) for some in pieces]


def evaluate(
    checkpoint: Checkpoint,
    judge: Judge,
    recordings: Recordings,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> Figures:
    """All figures, by name. `say` is told what is measured next."""
    tests = recordings.tests
    say("the judge by itself, and words of any kind through codes and back")
    figures: Figures = {
        ORIGINALS: {
            name: round(original_error(judge, *tests[name]), 4) for name in ("known", "voices", "open", "assistant")
        },
        MOST: {
            name: share.figures()
            for name, share in _most(judge, recordings, tests["known"][1][: _HEARD["known"]]).items()
        },
        "answers": {},
        RESYNTHESIS: {
            name: round(_resynthesis_error(checkpoint, judge, *tests[name]), 4) for name in ("open", "assistant")
        },
    }
    answered: dict[str, list[Answered]] = {}
    for name, count in _HEARD.items():
        say(f"questions: {name}")
        clips, plan = tests[name]
        answered[name] = ask_recordings(checkpoint.lm, checkpoint.tokenizer, sounds_of(clips), plan)
        figures["answers"][name] = _heard(checkpoint, judge, answered[name], count)
    say("questions: known, by telephone")
    by_telephone = _asked_over(_telephone, checkpoint, *tests["known"])
    figures["answers"][BY_TELEPHONE] = _heard(
        checkpoint,
        judge,
        by_telephone,
        _HEARD_BY_TELEPHONE,
        lambda wave: (_telephone(wave, OUTPUT_RATE), MODEL_INPUT_RATE),
    )
    figures["answers"][_NARROW] = {
        "text right": share_right(_asked_over(_narrow, checkpoint, *tests["known"])).figures()
    }
    say("questions in writing, in two turns, outside the domain, and no questions at all")
    for name in ("known", "sums"):
        figures["answers"][f"{name}, asked in writing"] = {
            "text right": share_right(ask_in_text(checkpoint.lm, tests[name][1])).figures()
        }
    return figures | {
        "memory, second turn right": _memory(checkpoint, recordings, seed).figures(),
        "no speech, said so": {name: share.figures() for name, share in _no_speech(checkpoint, seed).items()},
        "outside the domain, said so": {
            name: share.figures() for name, share in _outside(answered["unknown"], tests["unknown"][1]).items()
        },
        "speech rate by delivery": _delivery([(answered[name], tests[name][1]) for name in ("known", "delivery")]),
        ALONE: speed_alone(checkpoint.folder, sounds_of(tests["known"][0])[:_TIMED], THREADS),
    }


def _as_it_is(wave: np.ndarray) -> tuple[np.ndarray, int]:
    return wave, OUTPUT_RATE


def _heard(
    checkpoint: Checkpoint,
    judge: Judge,
    answered: Sequence[Answered],
    count: int,
    line: Callable[[np.ndarray], tuple[np.ndarray, int]] = _as_it_is,
) -> Figures:
    """Text right over all, heard right over the first `count`, and the same with the answers shuffled."""
    some = answered[:count]
    heard = judge.hear([line(wave) for wave in checkpoint.speak([one.codes for one in some])])
    expected = [one.expected for one in some]
    shuffled, chance = shuffled_right(heard, expected)
    return {
        "text right": share_right(answered).figures(),
        "heard right": heard_right(heard, expected).figures(),
        "heard right, answers shuffled": {**shuffled.figures(), "chance": round(chance, 4)},
        "word error rate": round(word_error_rate(list(zip(heard, expected, strict=True))), 4),
        # Of what the model itself gave as text: what the voice and the judge lose.
        "word error rate to its own text": round(
            word_error_rate([(text, one.text) for text, one in zip(heard, some, strict=True)]), 4
        ),
        "ended by itself": Share(sum(one.ended for one in answered), len(answered)).figures(),
    }


def _most(judge: Judge, recordings: Recordings, plan: Sequence[Asked]) -> dict[str, Share]:
    """What the judge hears right of the same answers as they were recorded: more cannot be heard of the model's."""
    clips = recordings.assistant
    first = {(line.text, line.language): index for index, line in reversed(list(enumerate(clips.lines)))}
    answers = [(one.exchange.answer, one.exchange.language) for one in plan if one.exchange is not None]
    recorded = [answer for answer in answers if answer in first]
    waves = [clips[first[answer]].samples.astype(np.float32) / 32_768 for answer in recorded]
    lines = {
        "as it is": [(wave, clips.rate) for wave in waves],
        "by telephone": [(_telephone(wave, clips.rate), MODEL_INPUT_RATE) for wave in waves],
    }
    return {name: heard_right(judge.hear(sounds), [text for text, _ in recorded]) for name, sounds in lines.items()}


def _asked_over(
    line: Callable[[np.ndarray, int], np.ndarray], checkpoint: Checkpoint, clips: ClipSet, plan: Sequence[Asked]
) -> list[Answered]:
    sounds = [line(sound, MODEL_INPUT_RATE) for sound in sounds_of(clips)]
    return ask_recordings(checkpoint.lm, checkpoint.tokenizer, sounds, plan)


def _telephone(sound: np.ndarray, rate: int) -> np.ndarray:
    """f32 at 16 kHz, as a telephone network leaves it: 300 to 3,400 Hz (ITU-T G.712), 8 kHz µ-law (G.711)."""
    return augment.telephone(resample(sound, rate, MODEL_INPUT_RATE))


def _narrow(sound: np.ndarray, rate: int) -> np.ndarray:
    """f32 at 16 kHz that went through 8 kHz with all that fits into it, as some programs send."""
    narrow = np.clip(resample(sound, rate, MULAW_8K.rate), -1.0, 1.0)
    return resample(decode_mu_law(MULAW_8K.encode(narrow)), MULAW_8K.rate, MODEL_INPUT_RATE)


def _resynthesis_error(checkpoint: Checkpoint, judge: Judge, clips: ClipSet, plan: Sequence[Asked]) -> float:
    """Recordings through codes and back, any words."""
    sounds = sounds_of(clips)[:_RESYNTHESISED]
    codes = checkpoint.tokenizer.encode_batch([(sound, MODEL_INPUT_RATE) for sound in sounds])
    heard = judge.hear([(wave, OUTPUT_RATE) for wave in checkpoint.speak(codes)])
    return word_error_rate([(text, one.line.text) for text, one in zip(heard, plan, strict=False)])


def _memory(checkpoint: Checkpoint, recordings: Recordings, seed: int) -> Share:
    """A sum, its own answer as it came, then "add one more" or the like: is the second answer right?"""
    random = np.random.default_rng((seed, 70))
    lm, tokenizer = checkpoint.lm, checkpoint.tokenizer
    known, memory = recordings.tests["known"], recordings.tests["memory"]
    sums = [(i, a.exchange) for i, a in enumerate(known[1]) if a.exchange and a.exchange.kind == "sum"]
    follow_ups = [(i, a.exchange) for i, a in enumerate(memory[1]) if a.exchange]
    first_sounds, then_sounds = sounds_of(known[0]), sounds_of(memory[0])
    sounds: list[np.ndarray] = []  # of both turns of each dialogue
    expected: list[str] = []
    while len(expected) < _DIALOGUES:
        index, first = sums[int(random.integers(len(sums)))]
        then, second = follow_ups[int(random.integers(len(follow_ups)))]
        following = {one.question: one.answer for one in domain.follow_up(first.total or 0, first.language)}
        if second.question in following:
            sounds += [first_sounds[index], then_sounds[then]]
            expected.append(following[second.question])
    codes = tokenizer.encode_batch([(sound, MODEL_INPUT_RATE) for sound in sounds])
    said = lm.generate_batch([lm.chat_prompt([first_codes]) for first_codes in codes[::2]], LONGEST)
    turns = zip(codes[::2], said, codes[1::2], strict=True)
    return share_right(answer(lm, [lm.chat_prompt(list(turn)) for turn in turns], expected))


def _no_speech(checkpoint: Checkpoint, seed: int) -> dict[str, Share]:
    """Whether silence, noise and tones are answered by "i do not know that"."""
    sounds = no_speech(_NO_SPEECH, np.random.default_rng((seed, 71)))
    codes = checkpoint.tokenizer.encode_batch([(sound, MODEL_INPUT_RATE) for sound in sounds])
    lm = checkpoint.lm
    answers = answer(lm, [lm.chat_prompt([one]) for one in codes], [domain.UNKNOWN["en"]] * len(codes))
    return {name: share_right(answers[kind::3]) for kind, name in enumerate(("silence", "noise", "tones"))}


def _outside(answers: Sequence[Answered], plan: Sequence[Asked]) -> dict[str, Share]:
    """The same of other languages and of questions that have no answer here, by what is unknown about them."""
    by_kind: dict[str, list[Answered]] = defaultdict(list)
    for one, asked in zip(answers, plan, strict=True):
        by_kind[kind_of_unknown(asked)].append(one)
    return {kind: share_right(some) for kind, some in sorted(by_kind.items())}


def _delivery(sets: Sequence[tuple[Sequence[Answered], Sequence[Asked]]]) -> Figures:
    """Letters and characters a second of answers that are right, by language and by how they were asked for."""
    rates: dict[str, list[float]] = defaultdict(list)
    for answered, plan in sets:
        for one, question in zip(answered, plan, strict=True):
            if one.right and one.codes and question.exchange is not None:
                rates[f"{question.exchange.language}, {question.exchange.delivery or 'plain'}"].append(_rate(one))
    return {name: {"signs a second": round(float(np.mean(r)), 2), "n": len(r)} for name, r in sorted(rates.items())}


def _rate(one: Answered) -> float:
    return len(one.text.replace(" ", "")) * float(SPEECH_TOKEN_RATE) / len(one.codes)
