"""A checkpoint's manifest: the SHA-256 of each of its files, so that a damaged download or a mixed folder is noticed.

`SHA256SUMS` has the format of coreutils' sha256sum, whose `--check` reads it too.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from antiphon.engine.errors import CheckpointError
from antiphon.engine.weights.folders import file_in, read_bytes

MANIFEST_FILE: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")
_MAX_BYTES: Final = 1 << 20


def write_manifest(folder: Path) -> None:
    """List every file below `folder`, itself excepted."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names if name != MANIFEST_FILE]
    (folder / MANIFEST_FILE).write_text("".join(lines))


def check_manifest(folder: Path | str) -> None:
    """Compare every file that the manifest names; a folder without one passes, since no official folder has it.

    Raises CheckpointError that names the first file that is missing or differs, or a malformed line.
    """
    folder = Path(folder)
    if not (folder / MANIFEST_FILE).exists():
        return
    text = read_bytes(file_in(folder, MANIFEST_FILE), _MAX_BYTES).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        entry = _LINE.fullmatch(line)
        if entry is None:
            raise CheckpointError(
                f"{folder / MANIFEST_FILE}, line {number}: {line!r}; expected a SHA-256, two spaces and a file's name."
            )
        wanted, name = entry.groups()
        found = _digest(file_in(folder, name))
        if found != wanted:
            raise CheckpointError(
                f"{folder / name} has the SHA-256 {found[:16]}…; {MANIFEST_FILE} says {wanted[:16]}…. "
                "The file is damaged or was changed: copy the whole folder again."
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
