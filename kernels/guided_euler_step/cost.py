"""What `guided_euler_step` must move and compute."""

from antiphon.kernels.costs import Cost


def guided_euler_step_cost(rows: int, channels: int, sequences: int, velocity_itemsize: int = 4) -> Cost:
    """x read and written, both velocities read, and a step size a sequence; five FLOPs a value."""
    values = rows * channels
    return Cost(bytes_moved=values * (8 + 2 * velocity_itemsize) + 4 * sequences, flops=5 * values)
