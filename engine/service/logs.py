"""Logs: one JSON object a line, that never holds what is said in a dialogue or what opens one.

    {"time": "2026-11-22T19:00:00.000Z", "level": "info", "logger": "antiphon.engine.service.server",
     "process": "frontend-0", "pid": 4711, "event": "dialogue_ended", "session": "…", "key": "alice", "turns": 3}

Three things keep audio, text, tokens and keys out:

- Only the fields of `Fields` are written, each as the type it has there; what else is given is left out and counted in
  `dropped_fields`. mypy refuses such a call beforehand.
- A string is written only where it looks like a name: letters, digits and a few signs, no white space, not long. That
  of `key` is shorter than any key (`antiphon.engine.service.keys`).
- Of a record that was not made by `log_event`, whoever made it, only the place is written, never its message; of an
  exception its class and the places it came through, never its message.
"""

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Final, TextIO, TypedDict, Unpack, get_type_hints

from antiphon.engine.service.log_writer import FIELDS_ATTRIBUTE, LogWriter


class Fields(TypedDict, total=False):
    """Everything a log line may tell beside its event."""

    session: str
    response: str
    child: str  # the name of a process
    exit_code: int  # negative: the signal that ended it
    key: str  # the name of an API key
    rpc: str
    peer: str
    reason: str
    code: str
    incident: str
    error: str  # the name of an exception's class
    file: str
    signal: str
    line: int
    port: int
    count: int
    dialogues: int
    turns: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    limit: float
    seconds: float  # that what the event names has taken
    first_audio_seconds: float
    audio_in_seconds: float
    audio_out_seconds: float
    hear_share: float  # of `seconds`, as are those that follow
    think_share: float
    solve_share: float
    vocode_share: float
    clips_share: float
    other_share: float


_FIELD_TYPES: Final[Mapping[str, type]] = get_type_hints(Fields)
_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
KEY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,31}")  # of an API key; every key is longer
_NAME: Final = re.compile(r"[A-Za-z0-9._:/%@\[\]-]{1,128}")
_FRAMES_KEPT: Final = 32  # of an exception's traceback, the innermost

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def log_event(
    logger: logging.Logger, level: int, event: str, failure: BaseException | None = None, **fields: Unpack[Fields]
) -> None:
    """Log that something happened.

    `event` names it, in lower case with underscores, the same every time; `failure` is the exception that goes with it.
    """
    logger.log(level, event, exc_info=failure, extra={FIELDS_ATTRIBUTE: fields})


def configure_logging(stream: TextIO | None = None, level: int = logging.INFO, process: str | None = None) -> None:
    """Send this process's logs to `stream` (None: standard error) as JSON lines, and no longer where it went before.

    `process`: its name, for each line, where several write to one stream. A stream that takes nothing, such as a pipe
    that nobody reads, delays nobody: lines are dropped and counted (log_writer.py).
    """
    handler = LogWriter(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, process: str | None = None) -> None:
        """`process`: the name of this one, where there are several."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if self._process is not None:
            line |= {"process": self._process, "pid": record.process}
        fields = getattr(record, FIELDS_ATTRIBUTE, None)
        if isinstance(fields, dict) and isinstance(record.msg, str) and _EVENT.fullmatch(record.msg):
            allowed = {name: value for name, value in fields.items() if _is_allowed(name, value)}
            line |= {"event": record.msg, **allowed}
            if len(allowed) < len(fields):
                line["dropped_fields"] = len(fields) - len(allowed)
        else:
            line |= {"event": "message", "at": _place(record.pathname, record.lineno, record.funcName)}
        if record.exc_info:
            line |= _told_exception(record.exc_info)
        return json.dumps(line)


def _is_allowed(name: object, value: object) -> bool:
    expected = _FIELD_TYPES.get(name) if isinstance(name, str) else None
    if expected is str:
        return isinstance(value, str) and (KEY_NAME if name == "key" else _NAME).fullmatch(value) is not None
    if expected is int:
        return type(value) is int
    if expected is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return False


def _told_exception(found: ExceptionInfo) -> dict[str, object]:
    kind, _, trace = found
    if kind is None:
        return {}
    frames = traceback.extract_tb(trace)[-_FRAMES_KEPT:]
    return {
        "exception": f"{kind.__module__}.{kind.__qualname__}",
        "through": [_place(frame.filename, frame.lineno, frame.name) for frame in frames],
    }


def _place(path: str, line: int | None, function: str | None) -> str:
    return f"{'/'.join(PurePath(path).parts[-2:])}:{line} {function}"
