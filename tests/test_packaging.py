"""What an installation of the package must hold, in whichever way it was installed, and who may import whom."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Who knows whom: a part (the longest name that fits) and the parts of ours that it may import beside itself.
SHARED = {
    f"antiphon.engine.{name}"
    for name in ("arrays", "config", "device", "errors", "graphs", "history", "timeline", "types", "units", "weights")
}
MAY_IMPORT = {
    "antiphon.kernels": set(),
    "antiphon.scheduler": set(),
    "antiphon.engine.hear": SHARED | {"antiphon.kernels"},
    "antiphon.engine.speak": SHARED | {"antiphon.kernels"},
    "antiphon.engine.think": SHARED | {"antiphon.kernels", "antiphon.scheduler"},
}


def run_elsewhere(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as an installed package's user would: from another folder, with nothing of it on the path."""
    return subprocess.run([sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True)


def ours_imported_by(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name for name in names if name.split(".")[0] == "antiphon"}


def test_no_common_name_is_taken_at_the_top_level(tmp_path: Path) -> None:
    program = """
from importlib.util import find_spec
print([name for name in ("engine", "kernels", "scheduler", "proto") if find_spec(name)])
"""
    assert run_elsewhere(program, tmp_path).stdout.strip() == "[]"


# The only files that may ask for triton, with the `jit_*.py` that kernels share.
WRITTEN_IN_TRITON = {"kernel.py", "resources.py", "specialise.py"}


def test_every_module_imports_where_there_is_no_triton(tmp_path: Path) -> None:
    modules = ["antiphon"]
    for folder in ("engine", "kernels", "scheduler"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = ".".join(("antiphon", *file.relative_to(ROOT).with_suffix("").parts))
            if file.name not in WRITTEN_IN_TRITON and not file.name.startswith("jit_"):
                modules.append(name.removesuffix(".__init__"))
    program = f"""
import importlib, sys
sys.modules["triton"] = None
for name in {modules}:
    importlib.import_module(name)
"""
    done = run_elsewhere(program, tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_wheel_names_every_file_of_the_face() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        packed = tomllib.load(file)["tool"]["scikit-build"]["wheel"]["packages"]
    face = {path.name for path in (ROOT / "src" / "antiphon").iterdir() if path.name != "__pycache__"}
    assert {Path(target).name for target in packed} == face


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_run_one_way(part: str) -> None:
    allowed = MAY_IMPORT[part] | {part}
    for file in ROOT.joinpath(*part.split(".")[1:]).rglob("*.py"):
        for name in ours_imported_by(file):
            assert any(name == known or name.startswith(known + ".") for known in allowed), f"{file} imports {name}"
