"""What `guided_euler_step` must move and compute."""

from antiphon.kernels.costs import Cost


def guided_euler_step_cost(rows: int, channels: int, velocity_itemsize: int = 4) -> Cost:
    """x read and written, both velocities read; five FLOPs a value."""
    return Cost(bytes_moved=rows * channels * (8 + 2 * velocity_itemsize), flops=5 * rows * channels)
