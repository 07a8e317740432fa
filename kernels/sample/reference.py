"""`sample` in plain torch."""

from typing import Final

import torch

from antiphon.kernels.sample.philox import uniform

# Of the highest, sorted: a nucleus is rarely larger, and sorting a whole vocabulary of 168,960 takes many times longer.
LARGEST_NUCLEUS: Final = 1_024


def sample(
    logits: torch.Tensor,  # f32[R, V]
    temperature: torch.Tensor,  # f32[R]
    top_k: torch.Tensor,  # i32[R]
    top_p: torch.Tensor,  # f32[R]
    seed: torch.Tensor,  # i64[R]
    step: torch.Tensor,  # i64[R]
) -> torch.Tensor:
    """The definition of correct."""
    ids = logits.argmax(-1)
    drawn = (temperature > 0).nonzero().squeeze(1)
    if len(drawn) == 0:
        return ids
    scores = logits[drawn].double() / temperature[drawn].double().unsqueeze(1)
    scores = _keep_top_p(_keep_top_k(scores, top_k[drawn].long()), top_p[drawn].double())
    cumulative = torch.softmax(scores, -1).cumsum(-1)
    reached = cumulative > uniform(seed[drawn], step[drawn]).unsqueeze(1) * cumulative[:, -1:]
    ids[drawn] = reached.int().argmax(-1)
    return ids


def _keep_top_k(scores: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Scores below each row's k-th highest become −inf; k = 0 keeps all."""
    k = k.clamp(max=scores.shape[1])
    most = int(k.max())
    if most == 0:
        return scores
    kth = scores.topk(most).values.gather(1, (k - 1).clamp(min=0).unsqueeze(1))
    return scores.masked_fill((scores < kth) & (k > 0).unsqueeze(1), -torch.inf)


def _keep_top_p(scores: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Scores outside each row's nucleus become −inf; p = 1 keeps all."""
    limited = p < 1
    if not bool(limited.any()):
        return scores
    total = scores.logsumexp(-1, keepdim=True)
    highest = scores.topk(min(LARGEST_NUCLEUS, scores.shape[1])).values
    cumulative = (highest - total).exp().cumsum(-1)
    if bool(((cumulative[:, -1] < p) & limited).any()):  # some nucleus is larger than that
        highest = scores.sort(descending=True).values
        cumulative = (highest - total).exp().cumsum(-1)
    size = 1 + (cumulative[:, :-1] < p.unsqueeze(1)).sum(-1, keepdim=True)
    lowest = highest.gather(1, size - 1)
    above, equal = scores > lowest, scores == lowest
    kept = above | (equal & (equal.cumsum(-1) <= size - above.sum(-1, keepdim=True)))
    return scores.masked_fill(~kept & limited.unsqueeze(1), -torch.inf)
