"""The language model, in the stages of the paper at small scale.

    text-to-token   text → the assistant's codes: makes speech of text without a vocoder
    interleaved     documents in which that model has turned spans of text into codes, an offline batch of the engine
    pretraining     text, speech and interleaved documents
    fine-tuning     dialogues by the official template, answers of 13 text and 26 speech ids in turn
    ablation        short pre-training with and without interleaved documents, each fine-tuned alike

Source: Zeng et al. 2024, GLM-4-Voice (arXiv 2412.02612) and Zeng et al. 2024, "Scaling speech-text pre-training with
synthetic interleaved data" (arXiv 2411.17607).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from antiphon.engine.think.kv_cache import PackedBatch
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.engine.weights.generate.text_files import STOP_TOKENS
from demo.recipe.scales import Steps
from demo.recipe.sequences import Answers, Dialogues, Documents, Weighted, given, training_texts, wanted
from demo.recipe.stage import Stage, freeze, train
from demo.recipe.words import english_sentence

_INITIAL: Final = 0.02  # standard deviation of the weights
_SPAN_SHARE: Final = 0.3  # of a document's words become speech
_SPAN_WORDS: Final = 5.0  # mean length of a span
_AT_ONCE: Final = 64  # prompts of one batch
_LONGEST_SPAN: Final = 150  # codes
_TEXTS: Final = 20_000
_OPEN_TEXT_SHARE: Final = 0.2  # of the documents that are interleaved


def new_model(config: LanguageModelConfig, vocabulary: Vocabulary, stops: Sequence[str] = STOP_TOKENS) -> GLM:
    """An untrained model that stops at the control tokens `stops`."""
    model = GLM(replace(config, stop_ids=tuple(vocabulary.control_id(name) for name in stops)))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            inner = name.endswith(("dense.weight", "dense_4h_to_h.weight"))
            nn.init.normal_(parameter, std=_INITIAL * ((2 * config.layers) ** -0.5 if inner else 1.0))
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    return model


def weighted_loss(model: GLM, batch: Sequence[Weighted]) -> torch.Tensor:
    """The mean cross-entropy of the next ids, by their weights."""
    device = model.device
    packed = PackedBatch.whole([len(one.ids) for one in batch], device)
    hidden = model(torch.tensor([token for one in batch for token in one.ids], device=device), packed)
    rows, targets, weights, start = [], [], [], 0
    for one in batch:
        for at in range(1, len(one.ids)):
            if one.weights[at] > 0:
                rows.append(start + at - 1)
                targets.append(one.ids[at])
                weights.append(one.weights[at])
        start += len(one.ids)
    logits = model.logits(hidden[torch.tensor(rows, device=device)])
    weight = torch.tensor(weights, device=device)
    losses = F.cross_entropy(logits, torch.tensor(targets, device=device), reduction="none")
    return (losses * weight).sum() / weight.sum()


def fit(
    stage: Stage,
    model: GLM,
    steps: Steps,
    draw: Callable[[np.random.Generator], Weighted],
    seed: tuple[int, int],
    name: str = "state.pt",
) -> float:
    """Train on what `draw` gives; the mean loss of the last steps. `seed` is the run's, and the stage's own number."""

    def loss(step: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng((*seed, step))
        return {"loss": weighted_loss(model, [draw(random) for _ in range(steps.batch)])}

    return train(stage, {"model": model}, steps, loss, seed[0], name)["loss"]


def load(stage: Stage, model: GLM, name: str = "state.pt") -> GLM:
    """`model` with the stage's weights."""
    state = stage.load(name)
    if state is None:
        raise FileNotFoundError(f"{stage.folder} holds no {name}; run the stage {stage.name!r} first.")
    model.load_state_dict(state["model"])
    return model


def speaker_prompt(vocabulary: Vocabulary, text: str) -> list[int]:
    """What the text-to-token model is given."""
    return [*vocabulary.encode(text), vocabulary.control_id("<|begin_of_audio|>")]


def speaker_draw(vocabulary: Vocabulary, answers: Answers) -> Callable[[np.random.Generator], Weighted]:
    """Draws for the text-to-token model: any text the assistant says in its plain delivery, or some words of it."""
    end = vocabulary.control_id("<|end_of_audio|>")

    def draw(random: np.random.Generator) -> Weighted:
        text, codes = answers.spoken[int(random.integers(len(answers.spoken)))]
        return given(speaker_prompt(vocabulary, text)) + wanted([*(vocabulary.speech_id(c) for c in codes), end])

    return draw


def make_interleaved(stage: Stage, speaker: GLM, vocabulary: Vocabulary, count: int, seed: int) -> list[list[int]]:
    """Documents in which spans of words are spoken by the text-to-token model, run as offline batches of the engine."""
    random = np.random.default_rng((seed, 50))
    texts = training_texts(count, random)
    texts = [english_sentence(random) if random.random() < _OPEN_TEXT_SHARE else text for text in texts]
    plans = [split_spans(text, random) for text in texts]
    spans = sorted({piece for plan in plans for piece, is_speech in plan if is_speech}, key=len)
    freeze(speaker)
    engine = LanguageModel(speaker, vocabulary)
    spoken: dict[str, list[int]] = {}
    for start in range(0, len(spans), _AT_ONCE):
        some = spans[start : start + _AT_ONCE]
        answers = engine.generate_batch([speaker_prompt(vocabulary, span.strip()) for span in some], _LONGEST_SPAN)
        for span, ids in zip(some, answers, strict=True):
            spoken[span] = [token for token in ids if vocabulary.is_speech(token)]
        if start // _AT_ONCE % 10 == 9:
            stage.say(f"interleaved: {start + len(some)} of {len(spans)} spans spoken")
    return [
        [token for piece, is_speech in plan for token in (spoken[piece] if is_speech else vocabulary.encode(piece))]
        for plan in plans
    ]


def split_spans(text: str, random: np.random.Generator) -> list[tuple[str, bool]]:
    """`text` in pieces, each with whether it is to be spoken: spans of a few words, `_SPAN_SHARE` of them in all.

    No span goes over the end of a line. A Chinese line has no spaces and is spoken whole or not at all.
    """
    pieces: list[tuple[str, bool]] = []
    for index, line in enumerate(text.split("\n")):
        pieces += [("\n", False)] if index else []
        pieces += _spans_of_line(line, random)
    return pieces


def _spans_of_line(line: str, random: np.random.Generator) -> list[tuple[str, bool]]:
    words = line.split(" ")
    chance = _SPAN_SHARE / (1 - _SPAN_SHARE) / _SPAN_WORDS  # that a span starts at a written word
    pieces: list[tuple[str, bool]] = []
    left = 0
    for index, word in enumerate(words):
        if left == 0 and random.random() < (chance if len(words) > 1 else _SPAN_SHARE):
            left = int(random.geometric(1 / _SPAN_WORDS))
            pieces.append(("", True))
        elif left == 0 and (not pieces or pieces[-1][1]):
            pieces.append(("", False))
        spaced = word if index == 0 else f" {word}"
        pieces[-1] = (pieces[-1][0] + spaced, pieces[-1][1])
        left = max(0, left - 1)
    return pieces


def pretraining_texts(seed: int) -> list[str]:
    """The texts of pre-training."""
    return training_texts(_TEXTS, np.random.default_rng((seed, 51)))


def pretrain(stage: Stage, model: GLM, steps: Steps, documents: Documents, seed: int, name: str = "state.pt") -> float:
    """The pre-training; with or without interleaved documents, as `documents` has them."""
    return fit(stage, model, steps, documents.draw, (seed, 52), name)


def fine_tune(stage: Stage, model: GLM, steps: Steps, dialogues: Dialogues, seed: int, name: str = "state.pt") -> float:
    """The fine-tuning on dialogues."""
    return fit(stage, model, steps, dialogues.draw, (seed, 53), name)
