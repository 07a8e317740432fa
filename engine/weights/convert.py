"""Between our modules' tensors and the official files': weight norm folded for reading and taken apart for writing."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.names import official_flow_name
from antiphon.engine.weights.reader import TensorSource, TensorSpec

_LENGTH: Final = ".weight_g"
_DIRECTION: Final = ".weight_v"
_FOLDED: Final = ".weight"
_WITHOUT_WEIGHT_NORM: Final = ("source_downs.", "m_source.", "f0_predictor.classifier.")  # of the vocoder

StateDict = OrderedDict[str, torch.Tensor]


def fold_weight_norm(source: TensorSource) -> TensorSource:
    """A view of `source` in which each pair `X.weight_g`, `X.weight_v` reads as `X.weight` = g · v / ‖v‖.

    The norm is over all dimensions but the first (`torch.nn.utils.weight_norm`'s default), in float32. Raises
    CheckpointError for one of a pair without the other, or shapes that do not fit.
    """
    return _FoldedWeightNorm(source)


def unfold_weight_norm(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight_g, weight_v) that fold into `weight`: its norm over all dimensions but the first, and itself."""
    return torch.norm_except_dim(weight, 2, 0), weight


def official_flow_state(state: Mapping[str, torch.Tensor]) -> StateDict:
    """What `flow.pt` holds, from the state dict of our `Flow`."""
    return OrderedDict((official_flow_name(name), tensor) for name, tensor in state.items())


def official_vocoder_state(state: Mapping[str, torch.Tensor]) -> StateDict:
    """What `hift.pt` holds, from the state dict of our `HiFT`: weight norm taken apart where the official has it."""
    official: StateDict = OrderedDict()
    for name, tensor in state.items():
        if not name.endswith(_FOLDED) or name.startswith(_WITHOUT_WEIGHT_NORM):
            official[name] = tensor
            continue
        stem = name.removesuffix(_FOLDED)
        official[stem + _LENGTH], official[stem + _DIRECTION] = unfold_weight_norm(tensor)
    return official


class _FoldedWeightNorm:
    def __init__(self, source: TensorSource) -> None:
        self._source = source
        present = set(source.names())
        names: list[str] = []
        self._folded: dict[str, str] = {}  # X.weight → X
        for name in source.names():
            stem = name.removesuffix(_DIRECTION)
            if stem != name:
                self._check_pair(stem, present)
                names.append(stem + _FOLDED)
                self._folded[stem + _FOLDED] = stem
            elif not name.endswith(_LENGTH):
                names.append(name)
            elif name.removesuffix(_LENGTH) + _DIRECTION not in present:
                raise CheckpointError(f"{source.path} has {name}, but no {name.removesuffix(_LENGTH)}{_DIRECTION}.")
        self._names = tuple(names)

    @property
    def path(self) -> Path:
        return self._source.path

    def names(self) -> Sequence[str]:
        return self._names

    def spec(self, name: str) -> TensorSpec:
        stem = self._folded.get(name)
        return self._source.spec(name if stem is None else stem + _DIRECTION)

    def read(self, name: str) -> torch.Tensor:
        stem = self._folded.get(name)
        if stem is None:
            return self._source.read(name)
        direction = self._source.read(stem + _DIRECTION)
        return torch._weight_norm(direction.float(), self._source.read(stem + _LENGTH).float(), 0).to(direction.dtype)

    def _check_pair(self, stem: str, present: set[str]) -> None:
        path = self._source.path
        if stem + _LENGTH not in present:
            raise CheckpointError(f"{path} has {stem}{_DIRECTION}, but no {stem}{_LENGTH}.")
        if stem + _FOLDED in present:
            raise CheckpointError(f"{path} has {stem}{_FOLDED} besides {stem}{_DIRECTION}; expected one of the two.")
        direction, length = self._source.spec(stem + _DIRECTION), self._source.spec(stem + _LENGTH)
        expected = (*direction.shape[:1], *(1 for _ in direction.shape[1:]))
        if length.shape != expected:
            raise CheckpointError(
                f"{path}: {stem}{_LENGTH} is {list(length.shape)}; expected {list(expected)} for {stem}{_DIRECTION} "
                f"{list(direction.shape)}."
            )
        if length.dtype != direction.dtype:
            raise CheckpointError(f"{path}: {stem}{_LENGTH} is {length.dtype}, {stem}{_DIRECTION} {direction.dtype}.")
