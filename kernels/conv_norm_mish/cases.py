"""`conv_norm_mish` as the official flow calls it."""

from typing import Final

import torch

from antiphon.kernels.cases import Call, Case
from antiphon.kernels.conv_norm_mish.cost import conv_norm_mish_cost
from antiphon.kernels.packed_conv1d.order import taps_outermost

# Of a product in TF32 three times over, divided by its deviation; and of bfloat16's last rounding.
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def _case(
    name: str,
    dtype: torch.dtype,
    lengths: tuple[int, ...],
    widths: tuple[int, int],
    groups: int,
    shifted: bool,
    has_added: bool = False,
) -> Case:
    def make(device: torch.device) -> Call:
        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, device=device, dtype=dtype)

        weight = taps_outermost(random(widths[1], widths[0], 3) / (3 * widths[0]) ** 0.5)
        vectors = random(widths[1]), random(widths[1]), random(widths[1])
        offsets = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
        # Both are columns of wider rows: shifts of all layers, and what the layer's shortcut adds too.
        shift = random(len(lengths), 2 * widths[1])[:, : widths[1]] if shifted else None
        added = random(sum(lengths), 2 * widths[1])[:, : widths[1]] if has_added else None
        return Call(
            (random(sum(lengths), widths[0]), weight, *vectors, offsets),
            {"max_seqlen": max(lengths), "groups": groups, "added": added, "shift": shift},
        )

    return Case(
        f"{name}, {widths[0]} to {widths[1]}, {sum(lengths):,} rows, {str(dtype).removeprefix('torch.')}",
        make,
        conv_norm_mish_cost(
            sum(lengths), *widths, len(lengths) if shifted else 0, itemsize=dtype.itemsize, has_added=has_added
        ),
        _TOLERANCES[dtype],
    )


def _cases() -> tuple[Case, ...]:
    first, many = (172, 172), (172,) * 64  # guidance pairs of one dialogue's first chunk, and of 32
    cases = []
    for dtype in (torch.float32, torch.bfloat16):
        cases += [
            _case("first resnet", dtype, first, (80, 256), 8, True, has_added=True),
            _case("resnet", dtype, first, (256, 256), 8, True),
            _case("resnet", dtype, many, (256, 256), 8, True),
            _case("resnet's second", dtype, first, (256, 256), 8, False),
            _case("way up", dtype, first, (512, 256), 8, True),
            _case("regulator", dtype, first[:1], (80, 80), 1, False),
        ]
    return tuple(cases)


CASES: Final = _cases()
