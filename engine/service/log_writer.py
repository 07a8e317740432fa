"""Log lines written in a thread of their own: who reads them slowly, or not at all, delays nobody's call."""

import logging
import queue
import threading
import time
from typing import Final, TextIO

FIELDS_ATTRIBUTE: Final = "antiphon_fields"  # of a record: what its line tells beside the event
WAITING: Final = 2_000  # lines at most; some seconds of a server that logs every call's end
_PATIENCE: Final = 2.0  # seconds for the last lines, when the process ends


class LogWriter(logging.Handler):
    """Hands lines to a thread that writes them to `stream`.

    Lines beyond `waiting` are dropped, and the next one that finds room is preceded by one that counts them:
    `log_lines_dropped`. A stream that cannot be written to any more costs its lines and nothing else.
    """

    def __init__(self, stream: TextIO, waiting: int = WAITING) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(waiting)
        self._dropped = 0
        threading.Thread(target=self._write, name="log-writer", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits."""
        if self._dropped and self._put(self._told_dropped()):
            self._dropped = 0
        if self._dropped or not self._put(self.format(record)):  # in their order: what was dropped is told first
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all lines are written, but no longer than `_PATIENCE`."""
        deadline = time.monotonic() + _PATIENCE
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.001)

    def _put(self, line: str) -> bool:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            return False
        return True

    def _told_dropped(self) -> str:
        fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log_lines_dropped"}
        return self.format(logging.makeLogRecord({**fields, FIELDS_ATTRIBUTE: {"count": self._dropped}}))

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: closed
                pass
            finally:
                self._lines.task_done()
