"""The exported checkpoint, asked by voice and heard by the judge: every figure of the model card.

Everything goes through the engine's public face, on the files that are shipped.
"""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from antiphon import LanguageModel, SpeechDecoder, SpeechTokenizer
from antiphon.engine.units import MODEL_INPUT_RATE, OUTPUT_RATE, SPEECH_TOKEN_RATE
from antiphon.engine.weights.folders import DECODER_FOLDER, LANGUAGE_MODEL_FOLDER, TOKENIZER_FOLDER
from demo.judge.recogniser import Judge
from demo.judge.score import heard_right, original_error, shuffled_right
from demo.recipe import augment, domain
from demo.recipe.clips import ClipSet
from demo.recipe.data import Asked, Corpus
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
from demo.recipe.spelled import word_error_rate
from demo.recipe.tokens import no_speech

_HEARD: Final = 200  # answers of a set that are spoken and judged,
_HEARD_BESIDE: Final = 60  # and of a set that has no bar
_RESYNTHESISED: Final = 120  # sentences
_NO_SPEECH: Final = 40  # of silence, of noise and of tones
_DEAF: Final = 0.25  # word error rate
_DIALOGUES: Final = 100  # of two turns

Figures = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """The three models of a folder."""

    tokenizer: SpeechTokenizer
    lm: LanguageModel
    decoder: SpeechDecoder

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """On the CPU, in float32: as a newcomer runs it."""
        return cls(
            SpeechTokenizer.load(folder / TOKENIZER_FOLDER),
            LanguageModel.load(folder / LANGUAGE_MODEL_FOLDER),
            SpeechDecoder.load(folder / DECODER_FOLDER),
        )

    def speak(self, codes: Sequence[int]) -> np.ndarray:
        """f32 at 22.05 kHz, streamed as a caller has it; silence for no codes."""
        if not codes:
            return np.zeros(1, np.float32)
        stream = self.decoder.stream(keep_chunks=False)
        return np.concatenate([stream.push(list(codes)), stream.finish()])


def evaluate(checkpoint: Checkpoint, judge: Judge, corpus: Corpus, seed: int) -> Figures:
    """All figures, by name."""
    tests = corpus.tests
    figures: Figures = {
        "judge's word error rate on originals": {
            name: round(original_error(judge, *tests[name]), 4) for name in ("known", "voices", "open", "assistant")
        },
        "answers": {},
        "word error rate of resynthesis": {
            name: round(_resynthesis_error(checkpoint, judge, *tests[name]), 4) for name in ("open", "assistant")
        },
        "memory, second turn right": _memory(checkpoint, corpus, seed).figures(),
        "no speech, said so": {name: share.figures() for name, share in _no_speech(checkpoint, seed).items()},
        "outside the domain, said so": {name: share.figures() for name, share in _outside(checkpoint, corpus).items()},
        "speech rate by delivery": _delivery(checkpoint, corpus),
    }
    for name in ("known", "voices", "sums", "delivery", "unknown"):
        clips, plan = tests[name]
        heard = _HEARD_BESIDE if name in ("delivery", "unknown") else _HEARD
        figures["answers"][name] = _answers(checkpoint, judge, sounds_of(clips), plan, heard)
    clips, plan = tests["known"]
    narrow = [augment.telephone(sound) for sound in sounds_of(clips)]
    figures["answers"]["known, 8 kHz µ-law in"] = _answers(checkpoint, judge, narrow, plan, _HEARD)
    for name in ("known", "sums"):
        figures["answers"][f"{name}, asked in writing"] = {
            "text right": share_right(ask_in_text(checkpoint.lm, tests[name][1])).figures()
        }
    return figures


def _answers(
    checkpoint: Checkpoint, judge: Judge, sounds: Sequence[np.ndarray], plan: Sequence[Asked], count: int
) -> Figures:
    """Text right over all, heard right over the first `count`, and the same with the answers shuffled."""
    answered = ask_recordings(checkpoint.lm, checkpoint.tokenizer, sounds, plan)
    some = answered[:count]
    began = time.perf_counter()
    waves = [checkpoint.speak(one.codes) for one in some]
    took = time.perf_counter() - began
    heard = judge.hear([(wave, OUTPUT_RATE) for wave in waves])
    expected = [one.expected for one in some]
    shuffled, chance = shuffled_right(heard, expected)
    return {
        "text right": share_right(answered).figures(),
        "heard right": heard_right(heard, expected).figures(),
        "heard right, answers shuffled": {**shuffled.figures(), "chance": round(chance, 4)},
        "word error rate": round(word_error_rate(list(zip(heard, expected, strict=True))), 4),
        "ended by itself": Share(sum(one.ended for one in answered), len(answered)).figures(),
        "decoder's real-time factor": round(took * OUTPUT_RATE / max(1, sum(map(len, waves))), 3),
    }


def _resynthesis_error(checkpoint: Checkpoint, judge: Judge, clips: ClipSet, plan: Sequence[Asked]) -> float:
    """Recordings through codes and back, any words."""
    sounds = sounds_of(clips)[:_RESYNTHESISED]
    codes = checkpoint.tokenizer.encode_batch([(sound, MODEL_INPUT_RATE) for sound in sounds])
    heard = judge.hear([(checkpoint.speak(one), OUTPUT_RATE) for one in codes])
    return word_error_rate([(text, one.line.text) for text, one in zip(heard, plan, strict=False)])


def _memory(checkpoint: Checkpoint, corpus: Corpus, seed: int) -> Share:
    """A sum, its own answer as it came, then "add one more" or the like: is the second answer right?"""
    random = np.random.default_rng((seed, 70))
    lm, tokenizer = checkpoint.lm, checkpoint.tokenizer
    sums = [(i, a.exchange) for i, a in enumerate(corpus.tests["known"][1]) if a.exchange and a.exchange.kind == "sum"]
    memory = corpus.tests["memory"]
    follow_ups = [(i, a.exchange) for i, a in enumerate(memory[1]) if a.exchange]
    first_sounds, then_sounds = sounds_of(corpus.tests["known"][0]), sounds_of(memory[0])
    prompts: list[list[int]] = []
    expected: list[str] = []
    while len(prompts) < _DIALOGUES:
        index, first = sums[int(random.integers(len(sums)))]
        then, second = follow_ups[int(random.integers(len(follow_ups)))]
        following = {one.question: one.answer for one in domain.follow_up(first.total or 0, first.language)}
        if second.question not in following:
            continue
        codes = tokenizer.encode_batch([(s, MODEL_INPUT_RATE) for s in (first_sounds[index], then_sounds[then])])
        said = lm.generate(lm.chat_prompt([codes[0]]), LONGEST)
        prompts.append(lm.chat_prompt([codes[0], said, codes[1]]))
        expected.append(following[second.question])
    return share_right(answer(lm, prompts, expected))


def _no_speech(checkpoint: Checkpoint, seed: int) -> dict[str, Share]:
    """Whether silence, noise and tones are answered by "i do not know that"."""
    sounds = no_speech(_NO_SPEECH, np.random.default_rng((seed, 71)))
    codes = checkpoint.tokenizer.encode_batch([(sound, MODEL_INPUT_RATE) for sound in sounds])
    lm = checkpoint.lm
    answers = answer(lm, [lm.chat_prompt([one]) for one in codes], [domain.UNKNOWN["en"]] * len(codes))
    return {name: share_right(answers[kind::3]) for kind, name in enumerate(("silence", "noise", "tones"))}


def _outside(checkpoint: Checkpoint, corpus: Corpus) -> dict[str, Share]:
    """The same of other languages and of questions that have no answer here, by what is unknown about them."""
    clips, plan = corpus.tests["unknown"]
    by_kind: dict[str, list[Answered]] = defaultdict(list)
    answers = ask_recordings(checkpoint.lm, checkpoint.tokenizer, sounds_of(clips), plan)
    for one, asked in zip(answers, plan, strict=True):
        by_kind[kind_of_unknown(asked)].append(one)
    return {kind: share_right(some) for kind, some in sorted(by_kind.items())}


def _delivery(checkpoint: Checkpoint, corpus: Corpus) -> Figures:
    """Letters and characters a second of answers that are right, by language and by how they were asked for."""
    rates: dict[str, list[float]] = defaultdict(list)
    for name in ("known", "delivery"):
        clips, plan = corpus.tests[name]
        answered = ask_recordings(checkpoint.lm, checkpoint.tokenizer, sounds_of(clips), plan)
        for one, question in zip(answered, plan, strict=True):
            if one.right and one.codes and question.exchange is not None:
                rates[f"{question.exchange.language}, {question.exchange.delivery or 'plain'}"].append(_rate(one))
    return {name: {"signs a second": round(float(np.mean(r)), 2), "n": len(r)} for name, r in sorted(rates.items())}


def _rate(one: Answered) -> float:
    return len(one.text.replace(" ", "")) * float(SPEECH_TOKEN_RATE) / len(one.codes)


def bars(figures: Mapping[str, Any]) -> dict[str, bool]:
    """The bars that were set before training, and whether each is reached."""
    answers = figures["answers"]
    original = figures["judge's word error rate on originals"]
    resynthesis = figures["word error rate of resynthesis"]
    return {
        "heard right, known voices ≥ 0.95": answers["known"]["heard right"]["share"] >= 0.95,
        "heard right, held-out sums ≥ 0.90": answers["sums"]["heard right"]["share"] >= 0.90,
        "heard right, held-out voices ≥ 0.80": answers["voices"]["heard right"]["share"] >= 0.80,
        "heard right, 8 kHz µ-law ≥ 0.90": answers["known, 8 kHz µ-law in"]["heard right"]["share"] >= 0.90,
        "resynthesis WER of any words, users' voices ≤ 1.5 x the judge's + 0.02": (
            resynthesis["open"] <= 1.5 * original["open"] + 0.02
        ),
        "resynthesis WER of any words, the assistant's voice ≤ 1.5 x the judge's + 0.02": (
            resynthesis["assistant"] <= 1.5 * original["assistant"] + 0.02
        ),
        f"the judge's own WER in the voice that it judges ≤ {_DEAF}, or no bar means anything": (
            original["assistant"] <= _DEAF
        ),
    }
