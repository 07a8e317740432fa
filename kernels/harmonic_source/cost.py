"""What `harmonic_source` must move and compute."""

from antiphon.kernels.costs import Cost


def harmonic_source_cost(frames: int, hop: int, harmonics: int, sequences: int) -> Cost:
    """F0, phases and noise read once, sines written once; eight operations a value, the sine counted as one."""
    values = frames * hop * harmonics
    return Cost(bytes_moved=(frames + sequences * harmonics + 2 * values) * 4, flops=8 * values)
