"""The stages in their order, and what each needs of the others."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from demo.judge import files as judge_files
from demo.judge import train as judge
from demo.recipe import evaluate, flow, thinking, tokenizer, tokens, vocoder
from demo.recipe.bars import bars
from demo.recipe.card import write_card
from demo.recipe.data import Corpus, make_corpus
from demo.recipe.evaluate import Checkpoint
from demo.recipe.export import Trained, export
from demo.recipe.language_model import load as load_language_model
from demo.recipe.scales import Scale
from demo.recipe.stage import Stage
from demo.recipe.thinking import Thinking

_PATIENCE: Final = 5.0  # s between two looks


class Recipe:
    """One run of the recipe in its work folder."""

    def __init__(
        self,
        work: Path,
        checkpoint: Path,
        judge: Path,
        scale: Scale,
        seed: int,
        workers: int,
        device: torch.device,
    ) -> None:
        """`checkpoint` and `judge` are the folders that the last stages write."""
        self.work = work
        self.checkpoint = checkpoint
        self.judge = judge
        self.scale = scale
        self.seed = seed
        self.workers = workers  # processes of espeak-ng
        self.device = device

    def stage(self, name: str) -> Stage:
        """The folder of a stage."""
        return Stage(self.work, name)

    def run(self, name: str, wait: bool = False) -> None:
        """Run a stage, unless it is done. What it needs must be done, or is waited for: another process makes it.

        Raises RuntimeError where a stage that it needs is not done.
        """
        stage = self.stage(name)
        if stage.done:
            stage.say(f"{name}: done before; remove {stage.folder} to do it again")
            return
        for needed in NEEDS[name]:
            while wait and not self.stage(needed).done:
                time.sleep(_PATIENCE)
            if not self.stage(needed).done:
                raise RuntimeError(f"the stage {name!r} needs {needed!r}, which is not done; run it first.")
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


def _judge(recipe: Recipe, stage: Stage) -> None:
    judge.run(stage, recipe.corpus, recipe.scale, recipe.seed, recipe.device)


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


def _export(recipe: Recipe, stage: Stage) -> None:
    lm = load_language_model(recipe.stage("fine-tuning"), recipe.thinking.model())
    trained = Trained(
        encoder=recipe.tokenizer.encoder,
        language_model=lm,
        flow=flow.load(recipe.stage("flow"), recipe.scale, recipe.device),
        vocoder=vocoder.load(recipe.stage("vocoder"), recipe.scale, recipe.device),
        text=recipe.work / "text",
    )
    size = export(recipe.checkpoint, trained, recipe.scale)
    modules = (trained.encoder, trained.language_model, trained.flow, trained.vocoder)
    stage.finish(bytes=size, parameters=sum(p.numel() for module in modules for p in module.parameters()))


def _evaluate(recipe: Recipe, stage: Stage) -> None:
    trained = recipe.stage("judge")
    judge_files.save(judge.load(trained), judge.errors(trained), recipe.judge)
    listener = judge_files.load(recipe.judge)
    figures = evaluate.evaluate(Checkpoint.load(recipe.checkpoint), listener, recipe.corpus, recipe.seed, stage.say)
    stages = {name: recipe.stage(name).figures() for name in STAGES}
    training = {**recipe.stage("export").figures(), "seed": recipe.seed, "remarks": [], "stages": stages}
    write_card(recipe.checkpoint, figures, training, recipe.scale)
    measured = bars(figures)
    stage.finish(bars_reached=sum(bar.is_reached for bar in measured), bars=len(measured))


STAGES: Final[Mapping[str, Callable[[Recipe, Stage], None]]] = MappingProxyType(
    {
        "data": _data,
        "tokenizer": _tokenizer,
        "vocoder": _vocoder,
        "judge": _judge,
        "tokens": _tokens,
        "flow": _flow,
        "text-to-token": _text_to_token,
        "interleaved": _interleaved,
        "pretraining": _pretraining,
        "fine-tuning": _fine_tuning,
        "ablation": _ablation,
        "export": _export,
        "evaluate": _evaluate,
    }
)

# What must be done before a stage.
NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "data": (),
        "tokenizer": ("data",),
        "vocoder": ("data",),
        "judge": ("data",),
        "tokens": ("tokenizer",),
        "flow": ("tokens",),
        "text-to-token": ("tokens",),
        "interleaved": ("text-to-token",),
        "pretraining": ("interleaved",),
        "fine-tuning": ("pretraining",),
        "ablation": ("interleaved",),
        "export": ("tokenizer", "vocoder", "flow", "fine-tuning"),
        "evaluate": ("export", "judge"),
    }
)

# Threads scale badly on models of this size, so the long stages run in two processes side by side, about equally long.
LANES: Final[Sequence[Sequence[str]]] = (
    ("tokenizer", "tokens", "text-to-token", "interleaved", "pretraining", "fine-tuning"),
    ("vocoder", "judge", "flow", "ablation"),
)
