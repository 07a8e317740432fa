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
from demo.recipe.stage import Stage, freeze, train
from demo.recipe.tokenizer import ctc_by_word

_ASSISTANT_SHARE: Final = 0.7  # the voice that it is to judge
_MILD: Final = augment.Strength(tilt=0.4, reverb=0.2, noise=0.5, telephone=0.2, most_silence=0.4)
_TESTS: Final = ("known", "voices", "open", "assistant")
_ERROR: Final = "wer_"  # of a test set, among the stage's figures


def run(stage: Stage, corpus: Corpus, scale: Scale, seed: int, device: torch.device) -> None:
    """Train the judge and measure its error on originals, as it is shipped: in fp16."""
    torch.manual_seed(seed + 2)
    judge = Judge().to(device)

    def loss(step: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng((seed, 60, step))
        drawn = [_draw(corpus, random) for _ in range(scale.judge.batch)]
        scores = judge([features(sound).to(device) for sound, _ in drawn])
        return {"loss": ctc_by_word(scores, [text for _, text in drawn])}

    losses = train(stage, {"judge": judge}, scale.judge, loss, seed)
    judge = load(stage).to(device)
    stage.finish(**losses, **{_ERROR + name: original_error(judge, *corpus.tests[name]) for name in _TESTS})


def load(stage: Stage) -> Judge:
    """The trained judge on the CPU, rounded to fp16 as it is shipped, frozen."""
    state = stage.load()
    if state is None:
        raise FileNotFoundError(f"{stage.folder} holds no state.pt; run the stage {stage.name!r} first.")
    judge = Judge()
    judge.load_state_dict({name: tensor.half().float() for name, tensor in state["judge"].items()})
    freeze(judge)
    return judge


def errors(stage: Stage) -> dict[str, float]:
    """Its word error rates on originals, by test set."""
    figures = stage.figures()
    return {key.removeprefix(_ERROR): value for key, value in figures.items() if key.startswith(_ERROR)}


def _draw(corpus: Corpus, random: np.random.Generator) -> tuple[np.ndarray, str]:
    """A clip in a language of ours, augmented: (f32 at 16 kHz, its text)."""
    while True:
        clips = corpus.assistant if random.random() < _ASSISTANT_SHARE else corpus.users
        clip = clips[int(random.integers(len(clips)))]
        if not clip.line.speaker.is_foreign:
            sound, _ = augment.augmented(at_model_rate(clip.samples, clips.rate), random, _MILD)
            return sound, clip.line.text
