"""Settings of an answer: what is refused, and that seeds decide."""

from typing import Any

import pytest
import torch

from antiphon.engine.errors import InputError
from antiphon.engine.think.sampling import SamplingParams, choose_ids


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("top_k", -1),
        ("top_k", 2**31),
        ("seed", -1),
        ("seed", 2**63),
        ("max_new_tokens", 0),
    ],
)
def test_a_setting_outside_its_range_is_named(setting: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^{setting} is {value}; expected"):
        SamplingParams(**{setting: value})


def test_a_seed_of_ones_own_stays_and_none_becomes_fresh() -> None:
    assert SamplingParams(seed=0).seeded().seed == 0
    seeds = {SamplingParams().seeded().seed for _ in range(8)}
    assert len(seeds) == 8 and None not in seeds


def test_a_draw_without_a_seed_is_refused() -> None:
    with pytest.raises(InputError, match="needs a seed"):
        choose_ids(torch.zeros(1, 4), [SamplingParams(temperature=1.0)], [0])


def test_rows_keep_their_own_settings() -> None:
    logits = torch.tensor([0.0, 3.0, 2.9]).expand(3, 3)
    greedy, drawn = SamplingParams(), SamplingParams(temperature=50.0, seed=1)
    draws = {tuple(choose_ids(logits, [greedy, drawn, greedy], [step] * 3)) for step in range(20)}
    assert draws == {(1, 0, 1), (1, 1, 1), (1, 2, 1)}
