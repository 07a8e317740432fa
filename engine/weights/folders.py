"""Where things lie in a model folder, and how its files are opened: only inside it, and only as data.

MODEL_DIR/glm-4-voice-tokenizer/   config.json, preprocessor_config.json, model*.safetensors
MODEL_DIR/glm-4-voice-9b/          config.json, model*.safetensors and their index, the text tokenizer's two files
MODEL_DIR/glm-4-voice-decoder/     config.yaml, flow.pt, hift.pt
"""

import json
from pathlib import Path
from typing import Any, Final

from antiphon.engine.errors import CheckpointError

TOKENIZER_FOLDER: Final = "glm-4-voice-tokenizer"
LANGUAGE_MODEL_FOLDER: Final = "glm-4-voice-9b"
DECODER_FOLDER: Final = "glm-4-voice-decoder"

_MAX_JSON_BYTES: Final = 16 << 20  # the largest official one, tokenizer_config.json, has 3.2 MB


def file_in(folder: Path | str, name: str) -> Path:
    """The path of the file `name`, given relative to `folder`.

    Raises CheckpointError when the folder or the file is missing, or when the path leaves the folder, by itself or
    through a symbolic link. Links from a Hugging Face cache's snapshot to its own blobs are allowed: such a cache is
    laid out so.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected a model folder as its publisher lays it out.")
    relative = Path(name)
    if "\0" in name or relative.is_absolute() or ".." in relative.parts:
        raise CheckpointError(f"{folder}: the path {name!r} leaves the folder; expected a file inside it.")
    path, root = folder / relative, folder.resolve()
    if not path.is_file():
        broken = ", which is a broken link" if path.is_symlink() else ""
        raise CheckpointError(f"{path} is missing{broken}; expected it as published. Download or copy it again.")
    target = path.resolve()
    if not (target.is_relative_to(root) or _is_cached_blob(target, root)):
        raise CheckpointError(
            f"{path} is a link to {target}, outside {root}; expected a file inside the folder. Copy it there."
        )
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError, naming the file, when it cannot be read or is no object."""
    return parse_json(read_bytes(path, _MAX_JSON_BYTES), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises CheckpointError, naming `where`, for anything else or a repeated key."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise CheckpointError(f"{where} gives {repeated!r} twice; expected each key once.")
        return entries

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not JSON ({error}); expected a JSON object. Is the file damaged?") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}; expected a JSON object.")
    return value


def read_bytes(path: Path, limit: int) -> bytes:
    """A small file's bytes. Raises CheckpointError when it cannot be read or has more than `limit` bytes."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise CheckpointError(f"{path} has {size} bytes; expected at most {limit} of such a file.")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error


def _is_cached_blob(target: Path, root: Path) -> bool:
    """Whether `target` is a blob of the Hugging Face cache that `root` is a snapshot of."""
    return root.parent.name == "snapshots" and target.parent == root.parent.parent / "blobs"
