"""What each kernel takes of a card, compiled without one: `python -m antiphon.kernels.resources [--check] [OP …]`.

The launchers are called at the real model's shapes on tensors without memory; what they launch is compiled for each
target, and its figures are written to `resources.csv` in the operation's folder, by version of Triton. With --check
nothing is written: the table must hold exactly what the launchers launch, by hash of its source, and every row must
fit. --recompile asks the compiler again and compares the figures too.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any, Final

import torch
import triton
from triton.backends.compiler import GPUTarget

from antiphon.kernels.cases import cases_of, launcher_of
from antiphon.kernels.registry import Op, all_ops, is_interpreting, use_backend
from antiphon.kernels.specialise import Specialisation, recording
from antiphon.kernels.targets import Target, compiling_for

TARGETS: Final[tuple[Target, ...]] = ("sm_80", "sm_90")
SHARED_LIMIT: Final = {"sm_80": 163 * 1024, "sm_90": 227 * 1024}  # bytes a block may take: CUDA C guide, table 24
_CUOBJDUMP: Final = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
# A product of float32 that asks for IEEE precision has no tensor-core form.
_DOT: Final = re.compile(r"tt\.dot\S*(?P<options>[^:]*):\s*tensor<[\dx]+x(?P<left>\w+)")


@dataclass(frozen=True)
class Row:
    """One compiled kernel."""

    triton: str
    target: str
    kernel: str
    launched: str  # types and constants
    warps: int
    stages: int
    source: str  # hash
    cases: str  # that launch it
    registers: int = 0  # of each thread
    spill_stores: int = 0  # instructions
    stack: int = 0  # bytes of each thread
    shared: int = 0  # bytes of a block
    matrix: str = ""  # "wgmma", "mma" or none
    copies: str = ""  # "cp.async", "tma" or none: how tiles come to shared memory
    instructions: int = 0
    needs_matrix: bool = False

    @property
    def key(self) -> tuple[object, ...]:
        """What was compiled."""
        return (self.triton, *self.launch)

    @property
    def launch(self) -> tuple[object, ...]:
        """The same, whatever compiles it."""
        return (self.target, self.kernel, self.launched, self.warps, self.stages, self.source)

    def faults(self) -> list[str]:
        """Why it must not be shipped."""
        where = f"{self.kernel} on {self.target} ({self.cases})"
        faults = []
        if self.spill_stores or self.stack:
            faults.append(f"{where} spills: {self.spill_stores} stores, {self.stack} bytes of stack a thread.")
        if self.shared > SHARED_LIMIT[self.target]:
            faults.append(f"{where} takes {self.shared} bytes of shared memory; {SHARED_LIMIT[self.target]} fit.")
        if self.needs_matrix and not self.matrix:
            faults.append(f"{where} multiplies matrices without tensor-core instructions.")
        return faults


def record(op: Op[Any]) -> list[tuple[Row, Specialisation]]:
    """What the operation's launcher launches over all its cases, one row each, figures left open."""
    found: dict[tuple[object, ...], tuple[Row, Specialisation]] = {}
    for target in TARGETS:
        for case in cases_of(op):
            call = case.make(torch.device("meta"))
            with use_backend("triton"), compiling_for(target), recording() as launches, torch.inference_mode():
                launcher_of(op)(*call.args, **call.kwargs)
            for it in launches:
                row = Row(triton.__version__, target, it.name, it.text, it.warps, it.stages, it.source_hash(), "")
                named = found.get(row.key, (row, it))[0].cases
                known = named.split("; ") if named else []
                if case.name not in known:
                    row = replace(row, cases="; ".join([*known, case.name]))
                    found[row.key] = (row, it)
    return list(found.values())


def measure(row: Row, specialisation: Specialisation) -> Row:
    """The row with its figures, from the compiler."""
    compiled = triton.compile(
        specialisation.source(),
        target=GPUTarget("cuda", int(row.target.removeprefix("sm_")), 32),
        options={"num_warps": row.warps, "num_stages": row.stages},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = _run(_CUOBJDUMP, "--dump-resource-usage", file.name)
        code = _run(_CUOBJDUMP, "--dump-sass", file.name)
    operations = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", code)
    names = set(operations)
    return replace(
        row,
        registers=int(re.findall(r"REG:(\d+)", usage)[-1]),
        stack=int(re.findall(r"STACK:(\d+)", usage)[-1]),
        spill_stores=operations.count("STL"),
        shared=int(compiled.metadata.shared),
        matrix="wgmma" if {"HGMMA", "IGMMA", "QGMMA"} & names else "mma" if {"HMMA", "IMMA", "DMMA"} & names else "",
        copies="tma" if "UTMALDG" in names else "cp.async" if "LDGSTS" in names else "",
        instructions=len(operations) - operations.count("NOP"),
        needs_matrix=any(_takes_tensor_cores(dot) for dot in _DOT.finditer(str(compiled.asm["ttir"]))),
    )


def table_of(op: Op[Any]) -> Path:
    """Where the operation's rows are."""
    return Path(__file__).parent / op.name / "resources.csv"


def read(path: Path) -> list[Row]:
    """The rows of a table; none where there is no file."""
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in fields(Row)}
    with path.open(newline="") as file:
        return [
            Row(**{name: _parse(kinds[name], text) for name, text in line.items()}) for line in csv.DictReader(file)
        ]


def update(op: Op[Any], progress: IO[str] = sys.stderr) -> list[Row]:
    """Compile what changed and write the table anew; returns this version's rows.

    Those of other versions of Triton stay where they are of the code as it is.
    """
    old = {row.key: row for row in read(table_of(op))}
    rows = []
    for row, specialisation in record(op):
        known = old.get(row.key)
        if known is None:
            print(f"{op.name}: compiling {row.kernel} for {row.target} ({row.cases})", file=progress)
            rows.append(measure(row, specialisation))
        else:
            rows.append(replace(known, cases=row.cases))
    launched = {row.launch for row in rows}
    others = [row for row in old.values() if row.triton != triton.__version__ and row.launch in launched]
    with table_of(op).open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, sorted([*others, *rows], key=lambda row: tuple(map(str, row.key)))))
    return rows


def check(op: Op[Any], recompile: bool = False) -> list[str]:
    """What is wrong with the operation's committed rows, in sentences: this version's, and those of others."""
    committed = {row.key: row for row in read(table_of(op))}
    recorded = {row.key: (row, specialisation) for row, specialisation in record(op)}
    launched = {row.launch for row, _ in recorded.values()}
    faults = [fault for row in committed.values() for fault in row.faults()]
    for key, (row, specialisation) in recorded.items():
        if key not in committed:
            faults.append(f"{op.name}: no row for {row.kernel} on {row.target} ({row.cases}): {row.launched}.")
        elif recompile and (measured := measure(committed[key], specialisation)) != committed[key]:
            faults.append(f"{op.name}: the row of {row.kernel} on {row.target} ({row.cases}) should be {measured}.")
    faults += [f"{op.name}: nothing launches {row.kernel}, compiled by {row.triton}: {row.launched}."
               for row in committed.values() if row.launch not in launched]  # fmt: skip
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Update the tables, or check them. Returns 1 where something does not fit."""
    parser = argparse.ArgumentParser(prog="python -m antiphon.kernels.resources", description=__doc__.split("\n")[0])
    parser.add_argument("ops", nargs="*", metavar="OP", help="operations (default: all that have a kernel)")
    parser.add_argument("--check", action="store_true", help="compare with the tables, write nothing")
    parser.add_argument("--recompile", action="store_true", help="with --check: compile every row again")
    options = parser.parse_args(arguments)
    if is_interpreting():
        parser.error("TRITON_INTERPRET is set: nothing is compiled under the interpreter.")
    ops = {op.name: op for op in all_ops() if op.kernel is not None}
    unknown = set(options.ops) - set(ops)
    if unknown:
        parser.error(f"no kernel is called {', '.join(sorted(unknown))}; there are {', '.join(ops)}.")
    chosen = [ops[name] for name in options.ops] or list(ops.values())
    if options.check:
        faults = [fault for op in chosen for fault in check(op, options.recompile)]
    else:
        rows = [row for op in chosen for row in update(op)]
        print(_table(rows))
        faults = [fault for row in rows for fault in row.faults()]
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults and options.check:
        print(f"Write the tables again with: {parser.prog} {' '.join(options.ops)}", file=sys.stderr)
    return 1 if faults else 0


def _table(rows: Iterable[Row]) -> str:
    """For people."""
    head = f"{'kernel':28} {'target':6} {'reg':>4} {'spill':>5} {'shared':>7} {'matrix':6} {'copies':8} cases"
    return "\n".join([head, *(
        f"{row.kernel:28} {row.target:6} {row.registers:4} {row.spill_stores:5} {row.shared:7} {row.matrix:6} "
        f"{row.copies:8} {row.cases}" for row in rows)])  # fmt: skip


def _takes_tensor_cores(dot: re.Match[str]) -> bool:
    return dot["left"] != "f32" or "tf32" in dot["options"]


def _parse(kind: Any, text: str) -> Any:
    return text == "True" if kind is bool else kind(text)


def _run(*command: object) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
