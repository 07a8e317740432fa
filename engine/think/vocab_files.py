"""The text tokenizer's files of a glm-4-voice-9b folder, read as data.

tiktoken's own loader is not used: it keeps a cache by address, which outlives the file.
"""

import base64
import binascii
from pathlib import Path
from typing import Final

from antiphon.engine.errors import CheckpointError, TextFilesMissingError
from antiphon.engine.weights.folders import file_in, read_bytes, read_json

RANKS_FILE: Final = "tokenizer.model"
CONFIG_FILE: Final = "tokenizer_config.json"
MOST_TOKENS: Final = 2**31 - 1  # ids are int32 wherever they are packed
_MAX_RANKS_BYTES: Final = 64 << 20  # the official one has 2.6 MB


def read_ranks(folder: Path) -> dict[bytes, int]:
    """`tokenizer.model`: one token a line, its bytes in base64, a space, its rank, which is also its id."""
    path = _text_file(folder, RANKS_FILE)
    ranks: dict[bytes, int] = {}
    seen: set[int] = set()
    for number, line in enumerate(read_bytes(path, _MAX_RANKS_BYTES).splitlines(), start=1):
        if not line.strip():
            continue
        token, rank = _rank_of(line, f"{path}, line {number}")
        if token in ranks or rank in seen:
            raise CheckpointError(f"{path}, line {number}: {line!r} repeats a token or a rank; expected each once.")
        ranks[token] = rank
        seen.add(rank)
    absent = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if absent:
        raise CheckpointError(
            f"{path} has {len(ranks)} tokens and none for the single byte {absent[0]:#04x}; expected all 256 bytes, "
            "so that any text can be encoded. Is the file truncated?"
        )
    return ranks


def read_added_tokens(folder: Path) -> dict[str, int]:
    """`tokenizer_config.json`: its `added_tokens_decoder` (id → token), as name → id."""
    path = _text_file(folder, CONFIG_FILE)
    entries = read_json(path).get("added_tokens_decoder")
    if not isinstance(entries, dict):
        raise CheckpointError(
            f"{path} has no object added_tokens_decoder; expected the control and speech tokens by id."
        )
    tokens: dict[str, int] = {}
    for key, entry in entries.items():
        name = entry.get("content") if isinstance(entry, dict) else None
        if not (key.isascii() and key.isdigit() and isinstance(name, str) and name):
            raise CheckpointError(
                f"{path}: added_tokens_decoder[{key!r}] is {entry!r}; expected an id and an object with its content."
            )
        if name in tokens:
            raise CheckpointError(f"{path}: {name} has the ids {tokens[name]} and {key}; expected one.")
        tokens[name] = int(key)
    return tokens


def _text_file(folder: Path, name: str) -> Path:
    if not (folder / name).exists():
        raise TextFilesMissingError(
            f"{folder / name} is missing; text cannot be encoded or decoded without {RANKS_FILE} and {CONFIG_FILE}. "
            "Copy both from the published glm-4-voice-9b folder."
        )
    return file_in(folder, name)


def _rank_of(line: bytes, where: str) -> tuple[bytes, int]:
    parts = line.split()
    try:
        token, rank = parts
        decoded = base64.b64decode(token, validate=True)
    except (ValueError, binascii.Error) as error:
        raise CheckpointError(f"{where}: {line!r} is not a token; expected base64, a space and a rank.") from error
    if not decoded or not rank.isdigit() or int(rank) > MOST_TOKENS:
        raise CheckpointError(
            f"{where}: {line!r} is not a token; expected base64, a space and a rank of 0 to {MOST_TOKENS}."
        )
    return decoded, int(rank)
