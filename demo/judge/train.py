"""The judge's training, on what espeak-ng says and nothing that a model of ours made."""

from typing import Final

import numpy as np
import torch

from demo.judge.recogniser import Judge, features
from demo.judge.score import original_error
from demo.recipe import augment
from demo.recipe.data import Corpus
from demo.recipe.hearing import at_model_rate
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage, train
from demo.recipe.tokenizer import ctc_by_word
from demo.recipe.voices import FOREIGN_VOICES

_ASSISTANT_SHARE: Final = 0.4
_MILD: Final = augment.Strength(tilt=0.4, reverb=0.2, noise=0.5, telephone=0.2, most_silence=0.4)
_TESTS: Final = ("known", "voices", "open")


def run(stage: Stage, corpus: Corpus, scale: Scale, seed: int, device: torch.device) -> None:
    """Train the judge; write `judge.pt` and its error on originals."""
    torch.manual_seed(seed + 2)
    judge = Judge().to(device)

    def loss(step: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng((seed, 60, step))
        drawn = [_draw(corpus, random) for _ in range(scale.judge.batch)]
        scores = judge([features(sound).to(device) for sound, _ in drawn])
        return {"loss": ctc_by_word(scores, [text for _, text in drawn])}

    losses = train(stage, {"judge": judge}, scale.judge, loss, seed)
    judge.save(stage.folder / "judge.pt")
    judge = Judge.load(stage.folder / "judge.pt")
    stage.finish(**losses, **{f"wer_{name}": original_error(judge, *corpus.tests[name]) for name in _TESTS})


def _draw(corpus: Corpus, random: np.random.Generator) -> tuple[np.ndarray, str]:
    """A clip in a language of ours, augmented: (f32 at 16 kHz, its text)."""
    while True:
        clips = corpus.assistant if random.random() < _ASSISTANT_SHARE else corpus.users
        clip = clips[int(random.integers(len(clips)))]
        if clip.line.speaker.voice.split("+")[0] not in FOREIGN_VOICES:
            sound, _ = augment.augmented(at_model_rate(clip.samples, clips.rate), random, _MILD)
            return sound, clip.line.text
