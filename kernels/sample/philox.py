"""Philox-4x32-10: a counter goes in, four random words come out, and there is no state.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (doi 10.1145/2063384.2063405), section 3.3 and
table 2; the words' order is that of Random123's philox.h.
"""

from typing import Final

import torch

MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS: Final = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) − 1
ROUNDS: Final = 10
_WORD: Final = 0xFFFF_FFFF

Words = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def philox_4x32(
    counter: Words,  # four i64[...], each holding an unsigned 32-bit word
    key: tuple[torch.Tensor, torch.Tensor],  # two i64[...], likewise
) -> Words:
    """Four i64[...] that hold unsigned 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + KEY_STEPS[0]) & _WORD, (k1 + KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def uniform(
    seed: torch.Tensor,  # i64[R], at least 0
    step: torch.Tensor,  # i64[R], at least 0
) -> torch.Tensor:
    """f64[R] in [0, 1), in steps of 2⁻³²: one draw for each (seed, step)."""
    zero = torch.zeros_like(step)
    words = philox_4x32((step & _WORD, step >> 32, zero, zero), (seed & _WORD, seed >> 32))
    return words[0].double() / 2**32


def _multiply(word: torch.Tensor, multiplier: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The high and low words of a 64-bit product, in halves so that no part of it leaves the signed range."""
    lower = word * (multiplier & 0xFFFF)
    upper = word * (multiplier >> 16) + (lower >> 16)
    return upper >> 16, ((upper & 0xFFFF) << 16) | (lower & 0xFFFF)
