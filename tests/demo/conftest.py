"""A corpus that needs no espeak-ng: a stand-in that whistles every letter, so that there is something to learn.

The recipe is run from the repository's root and is not installed: it is found there.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[2]))

from demo.recipe import clips, domain
from demo.recipe.clips import Line
from demo.recipe.data import Asked, Corpus
from demo.recipe.espeak import RATE, Phoneme, Utterance
from demo.recipe.scales import SMOKE, Scale, Steps
from demo.recipe.voices import ASSISTANT_SPEEDS, Speaker, assistant

_LETTER = 0.08  # s at speed 150


class Whistle:
    """Says each letter as three harmonics of its own pitch, longer where the speed is lower."""

    def say(self, text: str, voice: str, speed: int = 150, pitch: int = 50, intonation: int = 50) -> Utterance:
        length = int(_LETTER * RATE * 150 / speed)
        t = np.arange(length) / RATE
        pieces, phonemes = [], []
        for index, letter in enumerate(text.lower()):
            hertz = 120.0 + 7.0 * (ord(letter) % 32)
            tone = sum(np.sin(2 * np.pi * h * hertz * t) / h for h in (1, 2, 3)) * (letter != " ")
            pieces.append((6_000 * tone * np.sin(np.pi * t / t[-1])).astype(np.int16))
            phonemes.append(Phoneme("_" if letter == " " else letter, index * length))
        return Utterance(np.concatenate(pieces), tuple(phonemes))


@pytest.fixture(scope="session")
def scale() -> Scale:
    """The sizes of the smoke run with thinner models, and a dozen steps."""

    def short(steps: int, learning_rate: float) -> Steps:
        return Steps(steps, batch=3, learning_rate=learning_rate, warm_up=2)

    flow = replace(
        SMOKE.decoder_config.flow,
        input_size=32,
        encoder_size=32,
        encoder_heads=2,
        encoder_ffn=64,
        encoder_layers=1,
        estimator_channels=(160, 160),
        estimator_heads=2,
        estimator_head_dim=16,
    )
    vocoder = replace(SMOKE.decoder_config.vocoder, base_channels=16, f0_channels=16)
    return replace(
        SMOKE,
        tokenizer=short(14, 3e-3),
        f0=short(12, 3e-3),
        vocoder=short(8, 3e-3),
        flow=short(12, 1e-3),
        flow_rounds=((short(2, 1e-3), short(3, 1e-3)),) * 2,
        text_to_token=short(10, 3e-3),
        pretraining=short(8, 3e-3),
        fine_tuning=short(10, 3e-3),
        judge=short(12, 3e-3),
        interleaved_documents=3,
        tokenizer_config=replace(SMOKE.tokenizer_config, d_model=48, heads=2, ffn=96, layers=1),
        decoder_config=replace(SMOKE.decoder_config, flow=flow, vocoder=vocoder),
        language_model_config=replace(SMOKE.language_model_config, layers=1, hidden=64, heads=2, ffn=96, head_dim=32),
    )


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three questions, their follow-ups and answers, whistled."""
    folder = tmp_path_factory.mktemp("clips")
    one = next(domain.sums("en", held_out=False))
    greeting, _, *_ = domain.small_talk()
    exchanges = [one, greeting, *domain.follow_up(1, "en")]
    answers = [one.answer, greeting.answer, domain.UNKNOWN["en"]]
    totals = range(2 * domain.LARGEST_OPERAND["en"] + 2)
    answers += [follow.answer for total in totals for follow in domain.follow_up(total, "en")]
    asked = [Asked(Line(x.question, Speaker("en-us+m1")), x) for x in exchanges]
    asked.append(Asked(Line("river stone", Speaker("en-us+m1")), None))
    spoken = [Line(text, assistant("en", way)) for text in dict.fromkeys(answers) for way in ASSISTANT_SPEEDS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "Espeak", Whistle)

        def speak(name: str, lines: list[Line], rate: int) -> clips.ClipSet:
            return clips.make_clips(folder / name, lines, rate, workers=0, progress=lambda line: None)

        users = speak("users", [a.line for a in asked], 16_000)
        made = Corpus(
            assistant=speak("assistant", spoken, 22_050),
            users=users,
            asked=asked,
            tests={name: (users, asked) for name in ("known", "voices", "sums", "delivery", "open", "assistant")},
        )
    made.assistant.renumber(made.phonemes)
    made.users.renumber(made.phonemes)
    return made


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
