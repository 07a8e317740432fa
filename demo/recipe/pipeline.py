"""The stages in their order, and what each needs of the others."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from demo.recipe import tokenizer, vocoder
from demo.recipe.data import Corpus, make_corpus
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage


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


def _data(recipe: Recipe, stage: Stage) -> None:
    corpus = recipe.corpus
    stage.finish(assistant=len(corpus.assistant), users=len(corpus.users), phonemes=len(corpus.phonemes))


def _tokenizer(recipe: Recipe, stage: Stage) -> None:
    tokenizer.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.device)


def _vocoder(recipe: Recipe, stage: Stage) -> None:
    vocoder.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.device)


STAGES: Final[Mapping[str, Callable[[Recipe, Stage], None]]] = MappingProxyType(
    {
        "data": _data,
        "tokenizer": _tokenizer,
        "vocoder": _vocoder,
    }
)
