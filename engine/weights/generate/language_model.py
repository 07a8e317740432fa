"""A random language model that is wired to answer in the official rhythm. See `clock.py` for the wiring."""

from collections.abc import Iterator, Sequence
from typing import Final

import torch

from antiphon.engine.think.model import GLM
from antiphon.engine.weights.configs import LanguageModelConfig
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.generate.clock import NO_STEP, Clock
from antiphon.engine.weights.generate.randomness import generator, row_blocks
from antiphon.engine.weights.generate.text_files import TextTokenizer
from antiphon.engine.weights.writer import PlannedTensor

_QUERY_KEY_SCALE: Final = 1.5  # of queries, keys and values: scores of deviation 2, so that attention chooses
_LAYERS_VARIANCE: Final = 2.0  # what all layers together add to a stream of variance 1
_GATED_SCALE: Final = 2.5  # undoes the gate's damping
_HEAD_SCALE: Final = 2.0  # deviation of the scores within a step
_NORM_SPREAD: Final = 0.1
_BIAS_SPREAD: Final = 0.1


def planned_language_model(
    config: LanguageModelConfig, tokenizer: TextTokenizer, dtype: torch.dtype, seed: int
) -> list[PlannedTensor]:
    """The tensors of `model*.safetensors` under their official names."""
    clock = Clock()
    steps = _steps_of_ids(clock, config.vocab_size, tokenizer, seed)
    with unfilled():
        shapes = {name: tuple(tensor.shape) for name, tensor in GLM(config).state_dict().items()}
    planned = [
        PlannedTensor(name, shape, dtype, _Blocks(name, shape, clock, steps, config.layers, seed))
        for name, shape in shapes.items()
    ]
    exponents = torch.arange(0, config.head_dim // 2, 2).float() / (config.head_dim // 2)
    frequencies = (1.0 / config.rope_theta**exponents).to(dtype)
    return [*planned, PlannedTensor.of("transformer.rotary_pos_emb.inv_freq", frequencies)]


def _steps_of_ids(clock: Clock, vocab_size: int, tokenizer: TextTokenizer, seed: int) -> torch.Tensor:
    """i64[vocab_size]: the step each id belongs to. Words and codes are dealt out at random, as even as can be."""
    steps = torch.full((vocab_size,), NO_STEP)
    speech = range(tokenizer.first_speech_id, tokenizer.first_speech_id + tokenizer.codes)
    shuffle = generator(seed, "steps")
    for ids, text in ((tokenizer.words, True), (speech, False)):
        kind = [step for step in range(clock.steps) if clock.is_text(step) is text]
        _deal(steps, ids, kind, shuffle)
    steps[tokenizer.control_id("<|user|>")] = clock.steps
    return steps


def _deal(steps: torch.Tensor, ids: Sequence[int], kind: Sequence[int], shuffle: torch.Generator) -> None:
    order = torch.randperm(len(ids), generator=shuffle)
    steps[torch.tensor(ids)[order]] = torch.tensor(kind).repeat(len(ids) // len(kind) + 1)[: len(ids)]


class _Blocks:
    """The rows of one tensor, made block by block."""

    def __init__(
        self, name: str, shape: tuple[int, ...], clock: Clock, steps: torch.Tensor, layers: int, seed: int
    ) -> None:
        self._name, self._shape, self._clock, self._steps, self._seed = name, shape, clock, steps, seed
        self._layer_gain = (_LAYERS_VARIANCE / (2 * layers)) ** 0.5

    def __call__(self) -> Iterator[torch.Tensor]:
        random = generator(self._seed, self._name)
        for start, stop in row_blocks(self._shape):
            rows = torch.randn(stop - start, *self._shape[1:], generator=random)
            yield self._wired(rows, start, stop)

    def _wired(self, rows: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Unit noise, scaled for its place, with the clock's part laid over it."""
        clock, width = self._clock, self._clock.width
        match self._name.split(".")[-2:]:
            case ["word_embeddings", _]:
                ends = self._steps == clock.steps  # `<|user|>` ends an answer, and in a prompt is any other id
                rows[:, :width] = clock.embedding(self._steps.masked_fill(ends, NO_STEP)[start:stop])
            case ["output_layer", _]:
                rows *= _HEAD_SCALE * self._shape[1] ** -0.5
                rows[:, :width] = clock.head(self._steps[start:stop])
            case ["query_key_value", "bias"]:
                rows *= _BIAS_SPREAD
            case ["query_key_value" | "dense_h_to_4h" as part, _]:
                rows *= (_QUERY_KEY_SCALE if part == "query_key_value" else 1.0) * self._shape[1] ** -0.5
            case ["dense" | "dense_4h_to_h" as part, _]:
                rows *= (_GATED_SCALE if part == "dense_4h_to_h" else 1.0) * self._layer_gain * self._shape[1] ** -0.5
                rows[: max(0, width - start)] = 0.0  # no layer moves the hands
            case _:
                rows.mul_(_NORM_SPREAD).add_(1.0)
                rows[: max(0, width - start)] = 1.0
        return rows
