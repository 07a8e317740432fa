"""How a request wants its ids chosen."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from antiphon.engine.errors import InputError
from antiphon.kernels.sample import sample

SEED_LIMIT: Final = 2**63


@dataclass(frozen=True)
class SamplingParams:
    """Settings of one answer; the default is greedy. Order and edges: `antiphon.kernels.sample`.

    Raises InputError, naming the field, for a value outside its range.
    """

    temperature: float = 0.0  # 0: the most probable id
    top_p: float = 1.0  # 1: no limit
    top_k: int = 0  # 0: no limit
    seed: int | None = None  # None: a fresh one for each answer (`seeded`)
    max_new_tokens: int = 64
    ignore_eos: bool = False  # go on past the model's stop ids

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), int | float):
                raise InputError(f"{name} is {getattr(self, name)!r}; expected a number.")
        for name in ("top_k", "max_new_tokens", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) and not (name == "seed" and value is None):
                raise InputError(f"{name} is {value!r}; expected a whole number.")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature}; expected a finite number, at least 0 (0: greedy).")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; expected more than 0 and at most 1 (1: no limit).")
        if not 0 <= self.top_k < 2**31:
            raise InputError(f"top_k is {self.top_k}; expected 0 (no limit) to {2**31 - 1}.")
        if self.seed is not None and not 0 <= self.seed < SEED_LIMIT:
            raise InputError(f"seed is {self.seed}; expected 0 to 2**63 - 1, or None for a fresh one.")
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}; expected at least 1.")

    def seeded(self) -> "SamplingParams":
        """These settings with a seed: their own, or a fresh random one."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(SEED_LIMIT))


@dataclass(frozen=True)
class SamplingColumns:
    """How R rows want their ids chosen, as `antiphon.kernels.sample` takes it."""

    temperature: torch.Tensor  # f32[R]
    top_k: torch.Tensor  # i32[R]
    top_p: torch.Tensor  # f32[R]
    seed: torch.Tensor  # i64[R]
    step: torch.Tensor  # i64[R]: which id of its answer each row chooses, from 0

    @classmethod
    def of(
        cls, params: Sequence[SamplingParams], steps: Sequence[int], device: torch.device | str = "cpu"
    ) -> "SamplingColumns":
        """Raises InputError where one has a temperature and no seed."""
        for one in params:
            if one.temperature > 0 and one.seed is None:
                raise InputError("a temperature above 0 needs a seed at each step; take SamplingParams.seeded() once.")
        return cls(
            torch.tensor([one.temperature for one in params], dtype=torch.float32, device=device),
            torch.tensor([one.top_k for one in params], dtype=torch.int32, device=device),
            torch.tensor([one.top_p for one in params], dtype=torch.float32, device=device),
            torch.tensor([one.seed or 0 for one in params], dtype=torch.int64, device=device),
            torch.tensor(steps, dtype=torch.int64, device=device),
        )

    @classmethod
    def greedy(cls, rows: int, device: torch.device) -> "SamplingColumns":
        """That many rows, all greedy."""
        whole = torch.zeros(3, rows, dtype=torch.int64, device=device)
        return cls(
            torch.zeros(rows, device=device), whole[0].int(), torch.ones(rows, device=device), whole[1], whole[2]
        )

    @property
    def columns(self) -> tuple[torch.Tensor, ...]:
        """In the operation's order."""
        return self.temperature, self.top_k, self.top_p, self.seed, self.step


def choose_ids(
    logits: torch.Tensor,  # f32[R, vocab]
    params: Sequence[SamplingParams],  # R of them; those with a temperature carry a seed
    steps: Sequence[int],  # R: which id of its answer each row chooses, from 0
) -> list[int]:
    """The id each row takes; the same for the same logits, settings and step, whatever the other rows are."""
    ids: list[int] = sample(logits, *SamplingColumns.of(params, steps, logits.device).columns).tolist()
    return ids
