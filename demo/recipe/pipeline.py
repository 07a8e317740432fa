"""The stages in their order, and what each needs of the others."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from demo.recipe import flow, thinking, tokenizer, tokens, vocoder
from demo.recipe.data import Corpus, make_corpus
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage
from demo.recipe.thinking import Thinking


class Recipe:
    """One run of the recipe in its work folder."""

    def __init__(
        self, work: Path, checkpoint: Path, scale: Scale, seed: int, workers: int, device: torch.device
    ) -> None:
        self.work = work
        self.checkpoint = checkpoint
        self.scale = scale
        self.seed = seed
        self.workers = workers  # processes of espeak-ng
        self.device = device

    def stage(self, name: str) -> Stage:
        """The folder of a stage."""
        return Stage(self.work, name)

    def run(self, name: str) -> None:
        """Run a stage, unless it is done."""
        stage = self.stage(name)
        if stage.done:
            stage.say(f"{name}: done before; remove {stage.folder} to do it again")
        else:
            STAGES[name](self, stage)

    @cached_property
    def corpus(self) -> Corpus:
        """The clips, made where they are missing."""
        return make_corpus(self.stage("data"), self.scale, self.seed, self.workers)

    @cached_property
    def tokenizer(self) -> SpeechTokenizer:
        """The trained one, frozen."""
        return tokenizer.load(self.stage("tokenizer"), self.scale, self.device)

    @cached_property
    def thinking(self) -> Thinking:
        """What the language model's stages share."""
        codes, text = self.stage("tokens"), self.work / "text"
        return Thinking(self.corpus, codes, text, self.scale, self.seed, self.device)


def _data(recipe: Recipe, stage: Stage) -> None:
    corpus = recipe.corpus
    stage.finish(assistant=len(corpus.assistant), users=len(corpus.users), phonemes=len(corpus.phonemes))


def _tokenizer(recipe: Recipe, stage: Stage) -> None:
    tokenizer.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.device)


def _vocoder(recipe: Recipe, stage: Stage) -> None:
    vocoder.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.device)


def _tokens(recipe: Recipe, stage: Stage) -> None:
    tokens.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.tokenizer)


def _flow(recipe: Recipe, stage: Stage) -> None:
    codes = tokens.load(recipe.stage("tokens"), "assistant")
    flow.run(stage, recipe.corpus, recipe.scale, recipe.seed, codes, recipe.device)


def _text_to_token(recipe: Recipe, stage: Stage) -> None:
    thinking.text_to_token(stage, recipe.thinking)


def _interleaved(recipe: Recipe, stage: Stage) -> None:
    thinking.interleave(stage, recipe.thinking, recipe.stage("text-to-token"))


def _pretraining(recipe: Recipe, stage: Stage) -> None:
    thinking.pretrain(stage, recipe.thinking, recipe.stage("interleaved"))


def _fine_tuning(recipe: Recipe, stage: Stage) -> None:
    thinking.fine_tune(stage, recipe.thinking, recipe.stage("pretraining"), recipe.tokenizer)


def _ablation(recipe: Recipe, stage: Stage) -> None:
    thinking.ablate(stage, recipe.thinking, recipe.stage("interleaved"), recipe.tokenizer)


STAGES: Final[Mapping[str, Callable[[Recipe, Stage], None]]] = MappingProxyType(
    {
        "data": _data,
        "tokenizer": _tokenizer,
        "vocoder": _vocoder,
        "tokens": _tokens,
        "flow": _flow,
        "text-to-token": _text_to_token,
        "interleaved": _interleaved,
        "pretraining": _pretraining,
        "fine-tuning": _fine_tuning,
        "ablation": _ablation,
    }
)
