"""Who calls: the file of API keys.

One key a line; blank lines and lines that begin with # are passed over:

    alice:sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
    bob:a-key-of-at-least-32-characters-written-out

A name is 1 to 31 letters, digits, `.`, `_` or `-`; it goes into logs and into what the client is told of its quotas. A
name may have several keys, so that a key can be replaced without a gap. A key is 32 to 256 visible ASCII characters,
written out or as the SHA-256 of it. The hash has no salt and is fast: keys are drawn at random, never thought up.

    KEY=$(openssl rand -hex 32); printf %s "$KEY" | sha256sum

The file is read again when it changes. A version with a fault, or without any key, is not taken: the keys before it
stay, and a line of the log tells where the fault is. A key that is gone is refused from then on, and `revoked` tells
which dialogues it had open.
"""

import hmac
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from antiphon.engine.clock import Clock
from antiphon.engine.errors import ServerFileError
from antiphon.engine.service.logs import KEY_NAME, Fields, log_event
from antiphon.engine.service.refusals import Reason, RefusalError
from antiphon.engine.service.watch import FileWatch

KEY_FILE_BYTES: Final = 1_048_576  # more is no key file
_KEY: Final = re.compile(rb"[!-~]{32,256}")
_HASHED_KEY: Final = re.compile(rb"sha256:([0-9A-Fa-f]{64})")
_BEARER: Final = re.compile(r"bearer +(\S+) *", re.IGNORECASE)

_log = logging.getLogger(__name__)
Held = TypeVar("Held")


@dataclass(frozen=True)
class ApiKey:
    """A key that was recognised. The key itself is not kept."""

    name: str  # whose; quotas go by it
    digest: bytes = field(repr=False)  # SHA-256 of the key


class KeyFileError(ServerFileError):
    """A key file that cannot be used."""

    def __init__(self, message: str, line: int | None = None) -> None:
        """`line`: where the fault is, from 1."""
        super().__init__(message)
        self.line = line


class ApiKeys:
    """The keys of a file, as it is now. For one thread."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises KeyFileError."""
        self._path = path
        self._watch = FileWatch([path], clock)
        self._keys = read_keys(path)

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> ApiKey:
        """The key of a call, by its metadata: `x-api-key: KEY`, else `authorization: Bearer KEY`.

        Takes the same time whichever key it is, and whether or not it is one. Raises RefusalError with API_KEY_MISSING
        or API_KEY_INVALID.
        """
        self._read_again()
        digest = sha256(_presented_key(metadata)).digest()
        place = 0  # of the key that matches, from 1; found without a branch
        for number, known in enumerate(self._keys, start=1):
            place |= number * hmac.compare_digest(known.digest, digest)
        if not place:
            raise RefusalError(Reason.API_KEY_INVALID, "the API key is unknown, or was revoked.")
        return self._keys[place - 1]

    def revoked(self, held: Mapping[Held, ApiKey]) -> list[Held]:
        """Those of `held` (dialogues, by the key that opened them) whose key is in the file no longer."""
        self._read_again()
        return [dialogue for dialogue, key in held.items() if key not in self._keys]

    def _read_again(self) -> None:
        if not self._watch.changed():
            return
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            where: Fields = {} if error.line is None else {"line": error.line}
            log_event(_log, logging.WARNING, "api_key_file_not_taken", **where)
        else:
            log_event(_log, logging.INFO, "api_key_file_read", count=len(self._keys))


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file. Raises KeyFileError, which tells the line and never what stands in it."""
    try:
        with path.open("rb") as file:
            content = file.read(KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"the API key file {path} cannot be read: {error.strerror}.") from None
    if len(content) > KEY_FILE_BYTES:
        raise KeyFileError(f"the API key file {path} is larger than {KEY_FILE_BYTES} bytes.")
    lines: dict[bytes, int] = {}  # by digest
    keys = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith(b"#"):
            key = _parse(line, f"line {number} of the API key file {path}", number)
            if key.digest in lines:
                raise KeyFileError(
                    f"line {number} of the API key file {path} holds the key of line {lines[key.digest]} again.", number
                )
            lines[key.digest] = number
            keys.append(key)
    if not keys:
        raise KeyFileError(f"the API key file {path} holds no key; expected lines of NAME:KEY.")
    return tuple(keys)


def _parse(line: bytes, where: str, number: int) -> ApiKey:
    name_bytes, colon, key = line.partition(b":")
    name = name_bytes.decode("latin-1")
    if not colon:
        raise KeyFileError(f"{where}: expected NAME:KEY or NAME:sha256:HEX.", number)
    if not KEY_NAME.fullmatch(name):
        raise KeyFileError(f"{where}: expected a name of 1 to 31 letters, digits, '.', '_' or '-'.", number)
    if key.startswith(b"sha256:"):
        hashed = _HASHED_KEY.fullmatch(key)
        if not hashed:
            raise KeyFileError(f"{where}: expected 64 hexadecimal digits after 'sha256:'.", number)
        return ApiKey(name, bytes.fromhex(hashed[1].decode()))
    if not _KEY.fullmatch(key):
        raise KeyFileError(f"{where}: expected a key of 32 to 256 visible ASCII characters.", number)
    return ApiKey(name, sha256(key).digest())


def _presented_key(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    by_name: dict[str, list[str]] = {"x-api-key": [], "authorization": []}
    for name, value in metadata:
        if name in by_name and isinstance(value, str):
            by_name[name].append(value)
    bearers = by_name["x-api-key"] or [
        bearer[1] for value in by_name["authorization"] if (bearer := _BEARER.fullmatch(value))
    ]
    if not bearers:
        raise RefusalError(
            Reason.API_KEY_MISSING,
            "the call carries no API key; send the metadata `authorization: Bearer KEY` or `x-api-key: KEY`.",
        )
    if len(bearers) > 1:
        raise RefusalError(Reason.API_KEY_INVALID, f"the call carries {len(bearers)} API keys; expected one.")
    return bearers[0].encode("utf-8", "surrogateescape")
