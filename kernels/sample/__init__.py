"""Choose one id a row: temperature, then top-k, then top-p, then one draw.

Temperature 0 takes the highest logit, the lowest id of equals. Otherwise, with scores = logits / temperature:

1. top-k keeps the scores that are at least the k-th highest (equals of the k-th stay, as in transformers);
2. top-p keeps, of what is left, the smallest set of most probable ids whose probability reaches p, at least one
   (of equals the lower ids first);
3. the draw u in [0, 1) takes the first kept id, in the vocabulary's order, whose cumulative probability exceeds u times
   that of all kept ids.

u is Philox-4x32-10's first word at counter (step, 0, 0), key seed, over 2³²: it depends on the request and its step
alone, never on the row or on its company.

Source: order and edges of transformers' TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper (generation/
logits_process.py); Holtzman et al. 2020 (arXiv 1904.09751) for top-p.
"""

import torch

from antiphon.kernels.checks import check, check_dtype, check_same_device, check_shape
from antiphon.kernels.registry import Op
from antiphon.kernels.sample import reference

OP = Op("sample", reference.sample, "antiphon.kernels.sample.kernel")


def sample(
    logits: torch.Tensor,  # f32[R, V]
    temperature: torch.Tensor,  # f32[R], 0: greedy
    top_k: torch.Tensor,  # i32[R], 0: all
    top_p: torch.Tensor,  # f32[R], in (0, 1]
    seed: torch.Tensor,  # i64[R], at least 0
    step: torch.Tensor,  # i64[R], at least 0
) -> torch.Tensor:
    """i64[R]: the id each row takes. Probabilities and their sums are float64."""
    rows = logits.shape[0]
    check_shape("logits", logits, (rows, None))
    check_dtype("logits", logits, torch.float32)
    check(1 <= logits.shape[1] < 2**31, f"logits has {logits.shape[1]} columns; expected 1 to {2**31 - 1}.")
    for name, column, dtype in (
        ("temperature", temperature, torch.float32),
        ("top_k", top_k, torch.int32),
        ("top_p", top_p, torch.float32),
        ("seed", seed, torch.int64),
        ("step", step, torch.int64),
    ):
        check_shape(name, column, (rows,))
        check_dtype(name, column, dtype)
    check_same_device(logits=logits, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, step=step)
    return OP.implementation(logits.device)(logits, temperature, top_k, top_p, seed, step)
