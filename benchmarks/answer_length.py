"""Answers as long as a benchmark wants them, from a model that would say less."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

import antiphon
from antiphon.engine.think import runner


@contextmanager
def ends_by_length(lm: antiphon.LanguageModel) -> Iterator[None]:
    """Answers end with `<|user|>`, as their last id but never before. One that is cut off instead would leave unspoken
    what reference mode has buffered, as in the official demo."""
    end, stops = lm.vocabulary.control_id("<|user|>"), torch.tensor(lm.config.stop_ids)
    choose = runner.choose_ids

    def chosen(logits: torch.Tensor, params: Sequence[antiphon.SamplingParams], steps: Sequence[int]) -> list[int]:
        ids = choose(logits.index_fill(-1, stops, -math.inf), params, steps)
        return [
            end if step == one.max_new_tokens - 1 else token
            for token, one, step in zip(ids, params, steps, strict=True)
        ]

    runner.choose_ids = chosen
    try:
        yield
    finally:
        runner.choose_ids = choose
