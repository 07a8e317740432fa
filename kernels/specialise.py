"""What Triton compiles a kernel for when a launcher launches it: recorded, without a GPU and without running it."""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

import torch
import triton
import triton.language as tl
from triton.runtime.jit import JITFunction

_ALIGNMENT: Final = 16  # bytes of a pointer, and the divisor of whole numbers, that Triton specialises on
_POINTERS: Final = {
    torch.bool: "*i1",
    torch.uint8: "*u8",
    torch.int8: "*i8",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}


@dataclass(frozen=True)
class Specialisation:
    """One compiled form of a kernel."""

    kernel: Any  # JITFunction
    signature: tuple[tuple[str, str], ...]  # each argument's type, "constexpr" for those compiled in
    constants: tuple[tuple[str, Any], ...]
    divisible: tuple[str, ...]  # arguments known to be multiples of 16
    warps: int
    stages: int

    @property
    def name(self) -> str:
        name: str = self.kernel.fn.__name__
        return name

    @property
    def text(self) -> str:
        """The types and constants on one line, in the arguments' order; '%' marks those divisible by 16."""
        constants = dict(self.constants)
        parts = [
            f"{name}={constants[name]}" if kind == "constexpr" else f"{name}:{kind}{'%' * (name in self.divisible)}"
            for name, kind in self.signature
        ]
        return " ".join(parts)

    def source(self) -> Any:
        """For `triton.compile`."""
        places = {name: (place,) for place, (name, _) in enumerate(self.signature)}
        return triton.compiler.ASTSource(
            self.kernel,
            dict(self.signature),
            {places[name]: value for name, value in self.constants},
            {places[name]: [["tt.divisibility", _ALIGNMENT]] for name in self.divisible},
        )

    def source_hash(self) -> str:
        """Of the kernel's code and that of the functions and constants it uses; comments do not count."""
        digest = hashlib.sha256()
        for line in _code(self.kernel, set()):
            digest.update(line.encode())
        return digest.hexdigest()[:12]


@contextmanager
def recording() -> Iterator[list[Specialisation]]:
    """Within the block kernels are not run when launched: each launch adds what would be compiled for it."""
    launches: list[Specialisation] = []

    def record(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        launches.append(_specialisation(kernel, args, kwargs))

    with mock.patch.object(JITFunction, "run", record):
        yield launches


def _specialisation(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Specialisation:
    parameters = {parameter.name: parameter for parameter in kernel.params}
    options = {name: value for name, value in kwargs.items() if name not in parameters}
    bound = kernel.signature.bind(*args, **{name: value for name, value in kwargs.items() if name in parameters})
    bound.apply_defaults()
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    divisible: list[str] = []
    for name, value in bound.arguments.items():
        parameter = parameters[name]
        kind = "constexpr" if parameter.is_constexpr else _kind(value, parameter.do_not_specialize)
        signature[name] = kind
        if kind == "constexpr":
            constants[name] = value
        elif not parameter.do_not_specialize and not parameter.do_not_specialize_on_alignment and _is_aligned(value):
            divisible.append(name)
    warps, stages = options.pop("num_warps", 4), options.pop("num_stages", 3)
    if options:
        raise ValueError(f"{kernel.fn.__name__} is launched with {sorted(options)}; the table knows warps and stages.")
    return Specialisation(kernel, tuple(signature.items()), tuple(constants.items()), tuple(divisible), warps, stages)


def _kind(value: Any, general: bool) -> str:
    """Triton's type of an argument; `general`: 1 is an integer as any other."""
    if value is None or (value is not True and isinstance(value, int) and value == 1 and not general):
        return "constexpr"
    if isinstance(value, torch.Tensor):
        return _POINTERS[value.dtype]
    if isinstance(value, bool):
        return "u1"
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    if isinstance(value, float):
        return "fp32"
    raise TypeError(f"a kernel's argument is {type(value).__name__}; expected a tensor, a number or None.")


def _is_aligned(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.data_ptr() % _ALIGNMENT == 0
    return isinstance(value, int) and not isinstance(value, bool) and value % _ALIGNMENT == 0


def _code(kernel: Any, seen: set[str]) -> Iterator[str]:
    """The code of a kernel, then of what it uses of its module, each once."""
    name = f"{kernel.fn.__module__}.{kernel.fn.__qualname__}"
    if name in seen:
        return
    seen.add(name)
    tree = ast.parse(textwrap.dedent(inspect.getsource(kernel.fn)))
    yield f"{name} {_told(tree)}"
    used = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
    for word in used:
        value = kernel.fn.__globals__.get(word)
        if isinstance(value, JITFunction) and not value.fn.__module__.startswith("triton."):
            yield from _code(value, seen)
        elif isinstance(value, tl.constexpr):
            yield f"{word} {value.value!r}"


def _told(node: Any) -> str:
    """A syntax tree in words that no version of Python changes: `ast.dump` tells of empty fields or not."""
    if isinstance(node, ast.AST):
        given = (f"{name}={_told(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({', '.join(given)})"
    return f"[{', '.join(map(_told, node))}]" if isinstance(node, list) else repr(node)
