"""The public face of the language model."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from antiphon.engine.device import resolve_device, resolve_dtype
from antiphon.engine.errors import CheckpointError, ContextOverflowError, TextFilesMissingError
from antiphon.engine.think.dialogue_prompt import Turn, as_history, dialogue_prompt
from antiphon.engine.think.ids import as_ids, check_ids
from antiphon.engine.think.kv_cache import PAGE_SIZE, PackedBatch
from antiphon.engine.think.model import GLM
from antiphon.engine.think.runner import LMRunner, generate
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.types import Float32Array
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.engine.weights.fill import fill, unfilled
from antiphon.engine.weights.names import rename_language_model
from antiphon.engine.weights.read_configs import read_language_model_config
from antiphon.engine.weights.reader import open_safetensors
from antiphon.scheduler.settings import Settings, pages_for


class LanguageModel:
    """GLM-4 with its vocabulary, as an official glm-4-voice-9b folder has them."""

    def __init__(self, model: GLM, vocabulary: Vocabulary | TextFilesMissingError) -> None:
        """`vocabulary` may be the error that its missing files raised: then every text function raises it."""
        self.model = model.eval()
        self._vocabulary = vocabulary
        if isinstance(vocabulary, Vocabulary) and vocabulary.size > self.config.vocab_size:
            raise CheckpointError(
                f"the tokenizer's files have ids up to {vocabulary.size - 1}; config.json gives the model a padded "
                f"vocabulary of {self.config.vocab_size}. Expected the ids to fit: are the files of one model?"
            )

    @classmethod
    def load(
        cls, folder: Path | str, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
    ) -> "LanguageModel":
        """Read an official folder: config.json, safetensors and, where present, the text tokenizer's files.

        Raises CheckpointError when a file is malformed or disagrees with another, DeviceError for a device this machine
        does not have, InputError for an unknown dtype.
        """
        folder = Path(folder)
        place, precision = resolve_device(device), resolve_dtype(dtype)
        config = read_language_model_config(folder)
        with unfilled():
            model = GLM(config)
        fill(model, open_safetensors(folder), rename=rename_language_model, device=place, dtype=precision)
        try:
            return cls(model, Vocabulary.read(folder))
        except TextFilesMissingError as error:
            return cls(model, error)

    @property
    def config(self) -> LanguageModelConfig:
        """Sizes, context and stop ids."""
        return self.model.config

    @property
    def vocabulary(self) -> Vocabulary:
        """Text, control and speech ids. Raises TextFilesMissingError, naming the file, without the text files."""
        if isinstance(self._vocabulary, TextFilesMissingError):
            raise TextFilesMissingError(str(self._vocabulary)) from self._vocabulary
        return self._vocabulary

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Float32Array:
        """f32[len(ids), vocab_size]: at each position the scores of the id that follows.

        Raises TokenError for no ids or one outside the vocabulary, ContextOverflowError for more than the context.
        """
        prompt = self._checked(ids, "ids")
        hidden = self.model(
            torch.tensor(prompt, device=self.model.device), PackedBatch.whole([len(prompt)], self.model.device)
        )
        return self.model.logits(hidden).cpu().numpy()

    def generate(
        self,
        ids: Sequence[int],
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        ignore_eos: bool = False,
    ) -> list[int]:
        """The ids that follow the prompt `ids`, without it.

        The answer ends after `max_new_tokens`, where the context ends, or with one of the model's stop ids, which then
        is its last id; `ignore_eos` goes on past those. Temperature 0 is greedy; otherwise see
        `antiphon.kernels.sample`. With a seed the answer is always the same, None takes a fresh one.
        Raises TokenError for no ids or one outside the vocabulary, ContextOverflowError when the prompt leaves no room
        in the context, InputError for a setting outside its range.
        """
        return self.generate_batch([ids], max_new_tokens, temperature, top_p, top_k, seed, ignore_eos)[0]

    def generate_batch(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        ignore_eos: bool = False,
    ) -> list[list[int]]:
        """`generate` for prompts of any lengths, in one continuous batch. Every prompt draws as if it were alone."""
        sampling = SamplingParams(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            max_new_tokens=max_new_tokens,
            ignore_eos=ignore_eos,
        )
        checked = [self._checked(ids, f"prompt {index}") for index, ids in enumerate(prompts)]
        lengths = [min(len(ids) + max_new_tokens, self.config.context) for ids in checked]
        if not checked:
            return []
        settings = Settings(
            n_pages=sum(pages_for(length, PAGE_SIZE) for length in lengths),
            page_size=PAGE_SIZE,
            max_dialogues=len(checked),
            max_row_pages=pages_for(self.config.context, PAGE_SIZE),
            max_rows=len(checked),
        )
        runner = LMRunner(self.model, settings)
        return generate(runner, [(ids, sampling) for ids in checked], self.config.stop_ids)

    def encode_text(self, text: str) -> list[int]:
        """Text as ids; control tokens written out in it stay text.

        Raises TextError when it is too long, TextFilesMissingError without the text files.
        """
        return self.vocabulary.encode(text)

    def decode_text(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control and speech ids have none. Raises TextFilesMissingError without the text files."""
        return self.vocabulary.decode(as_ids(ids, "ids"))

    def chat_prompt(self, turns: Sequence[Turn], system_prompt: str | None = None) -> list[int]:
        """The official template as ids, up to where the next answer begins.

        `turns` are the user's and the assistant's in turn, the user's first and last. A text is a str; the user's
        speech is its codes from `SpeechTokenizer.encode`; an answer is its ids from `generate`. A `HistoryItem` says
        explicitly which it is. The first turn's kind chooses one of the two official system prompts, unless one is
        given.
        Raises TextError, TokenError or InputError for turns that cannot be used, TextFilesMissingError without the text
        files.
        """
        history = as_history(turns)
        for index, item in enumerate(history):
            if item.ids:
                check_ids(list(item.ids), self.config.vocab_size, f"turn {index}")
        return dialogue_prompt(self.vocabulary, history, self.config.stop_ids, system_prompt)

    def _checked(self, ids: Sequence[int], what: str) -> list[int]:
        """`ids` as a list that the model takes."""
        checked = as_ids(ids, what)
        check_ids(checked, self.config.vocab_size, what)
        if len(checked) > self.config.context:
            raise ContextOverflowError(
                f"{what} has {len(checked)} ids; expected at most the model's context of {self.config.context}. "
                "Drop the oldest turns."
            )
        return checked
