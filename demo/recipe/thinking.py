"""The language model's stages, and what they share: the vocabulary, the answers' codes, the dialogues."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

import torch

from antiphon.engine.hear.tokenizer import SpeechTokenizer
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.think.vocab import Vocabulary
from demo.recipe import language_model, text_tokenizer, tokens
from demo.recipe.data import Corpus
from demo.recipe.questions import Share, ask_in_text, ask_recordings, share_right, sounds_of
from demo.recipe.scales import Scale, Steps
from demo.recipe.sequences import Answers, Dialogues, Documents
from demo.recipe.stage import Stage, freeze

_TESTS: Final = ("known", "voices", "sums", "delivery")
_STOP_OF_SPEECH: Final = ("<|end_of_audio|>",)


class Thinking:
    """What the language model's stages need."""

    def __init__(self, corpus: Corpus, codes: Stage, text: Path, scale: Scale, seed: int, device: torch.device) -> None:
        """`codes` is the stage in which everything was tokenised, `text` where the vocabulary's files are."""
        self.corpus = corpus
        self.scale = scale
        self.seed = seed
        self.device = device
        self._codes = codes
        self._text = text

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Learnt once."""
        if (self._text / "tokenizer_config.json").exists():
            return Vocabulary.read(self._text)
        return text_tokenizer.write(self._text)

    @cached_property
    def answers(self) -> Answers:
        """The assistant's codes by text."""
        return Answers(self.corpus, tokens.load(self._codes, "assistant"))

    @cached_property
    def heard(self) -> list[tokens.Codes]:
        """The users' codes, once for each augmented copy."""
        return [tokens.load(self._codes, f"users-{copy}") for copy in range(self.scale.copies)]

    @cached_property
    def dialogues(self) -> Dialogues:
        """What fine-tuning draws from."""
        no_speech = tokens.load(self._codes, "no-speech")
        return Dialogues(self.vocabulary, self.corpus, self.answers, self.heard, no_speech)

    def documents(self, mixed: Sequence[list[int]]) -> Documents:
        """What pre-training draws from."""
        texts = language_model.pretraining_texts(self.seed)
        said = ["" if line.speaker.is_foreign else line.text for line in self.corpus.users.lines]
        return Documents(self.vocabulary, texts, self.answers, self.heard, said, mixed)

    def model(self) -> GLM:
        """An untrained one."""
        torch.manual_seed(self.seed)
        return language_model.new_model(self.scale.language_model_config, self.vocabulary).to(self.device)

    def speaker(self) -> GLM:
        """An untrained text-to-token model."""
        torch.manual_seed(self.seed + 1)
        config = self.scale.language_model_config
        return language_model.new_model(config, self.vocabulary, _STOP_OF_SPEECH).to(self.device)


def text_to_token(stage: Stage, thinking: Thinking) -> None:
    """Train the text-to-token model and see how much of an answer's codes it gets right."""
    speaker = thinking.speaker()
    draw = language_model.speaker_draw(thinking.vocabulary, thinking.answers)
    loss = language_model.fit(stage, speaker, thinking.scale.text_to_token, draw, (thinking.seed, 54))
    stage.finish(loss=loss)


def interleave(stage: Stage, thinking: Thinking, speaker: Stage) -> None:
    """Make the interleaved documents."""
    model = language_model.load(speaker, thinking.speaker())
    count = thinking.scale.interleaved_documents
    made = language_model.make_interleaved(stage, model, thinking.vocabulary, count, thinking.seed)
    stage.save({"documents": made})
    speech = sum(thinking.vocabulary.is_speech(token) for ids in made for token in ids)
    stage.finish(documents=len(made), speech_share=round(speech / sum(map(len, made)), 3))


def pretrain(stage: Stage, thinking: Thinking, interleaved: Stage) -> None:
    """Pre-train on text, speech and interleaved documents."""
    documents = thinking.documents(_made(interleaved))
    loss = language_model.pretrain(stage, thinking.model(), thinking.scale.pretraining, documents, thinking.seed)
    stage.finish(loss=loss)


def fine_tune(stage: Stage, thinking: Thinking, pretrained: Stage, tokenizer: SpeechTokenizer) -> None:
    """Fine-tune on dialogues, and ask the test questions."""
    model = thinking.model()
    if stage.load() is None:
        language_model.load(pretrained, model)
    loss = language_model.fine_tune(stage, model, thinking.scale.fine_tuning, thinking.dialogues, thinking.seed)
    stage.finish(loss=loss, **{key: share.figures() for key, share in asked(model, thinking, tokenizer).items()})


def ablate(stage: Stage, thinking: Thinking, interleaved: Stage, tokenizer: SpeechTokenizer) -> None:
    """The same short training from no pre-training, from one without and from one with interleaved documents."""
    scale, share = thinking.scale, thinking.scale.ablation_share
    arms = {
        "no pre-training": None,
        "text and speech": thinking.documents([]),
        "interleaved too": thinking.documents(_made(interleaved)),
    }
    figures = {}
    for number, (arm, documents) in enumerate(arms.items()):
        model = thinking.model()
        tuned = f"arm-{number}-tuned.pt"
        if documents is not None and stage.load(tuned) is None:
            short = shortened(scale.pretraining, share)
            language_model.pretrain(stage, model, short, documents, thinking.seed, f"arm-{number}.pt")
        short = shortened(scale.fine_tuning, share)
        loss = language_model.fine_tune(stage, model, short, thinking.dialogues, thinking.seed, tuned)
        shares = asked(model, thinking, tokenizer)
        figures[arm] = {"loss": loss, **{key: one.figures() for key, one in shares.items()}}
        stage.say(f"ablation: {arm}", **{key: one.value for key, one in shares.items()})
    stage.finish(**figures)


def asked(model: GLM, thinking: Thinking, tokenizer: SpeechTokenizer) -> dict[str, Share]:
    """Which share of each test set is answered in the right text."""
    freeze(model)
    lm = LanguageModel(model, thinking.vocabulary)
    shares: dict[str, Share] = {}
    for name in _TESTS:
        clips, plan = thinking.corpus.tests[name]
        shares[f"spoken {name}"] = share_right(ask_recordings(lm, tokenizer, sounds_of(clips), plan))
        if name in ("known", "sums"):
            shares[f"written {name}"] = share_right(ask_in_text(lm, plan))
    return shares


def shortened(steps: Steps, share: float) -> Steps:
    """The same run in fewer steps."""
    return replace(steps, steps=max(1, round(steps.steps * share)))


def _made(interleaved: Stage) -> list[list[int]]:
    state = interleaved.load()
    if state is None:
        raise FileNotFoundError(f"{interleaved.folder} holds no state.pt; run the stage {interleaved.name!r} first.")
    made: list[list[int]] = state["documents"]
    return made
