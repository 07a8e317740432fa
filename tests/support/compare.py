"""A comparison whose failure says where and by how much."""

import numpy as np
import numpy.typing as npt
import torch


def assert_close(
    actual: npt.ArrayLike | torch.Tensor, expected: npt.ArrayLike | torch.Tensor, tolerance: float, what: str = "values"
) -> None:
    """Assert equal shapes and |actual − expected| ≤ tolerance everywhere; NaN never passes."""
    a, e = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, dtype=np.float64) for x in (actual, expected))
    assert a.shape == e.shape, f"{what}: shape {a.shape}, expected {e.shape}"
    if a.size == 0:
        return
    error = np.abs(a - e)
    failing = ~(error <= tolerance)
    if failing.any():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        raise AssertionError(
            f"{what}: worst element {tuple(map(int, worst))} is {a[worst]:.9g}, expected {e[worst]:.9g} "
            f"(off by {error[worst]:.3g}, tolerance {tolerance:.3g}); {failing.mean():.2%} of {a.size} fail"
        )
