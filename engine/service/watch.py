"""Has a file changed since it was last read?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from antiphon.engine.clock import Clock

CHECK_SECONDS: Final = 1.0  # files are looked at so often at most


class FileWatch:
    """Watches files by what the file system says of them; a file that is gone is a change too.

    Replace a watched file in one step, by renaming a new one over it: of a file that is written in place, a half may be
    read first, and the whole a second later.
    """

    def __init__(self, paths: Sequence[Path], clock: Clock) -> None:
        """Create before the files are read, so that no change falls between."""
        self._paths = tuple(paths)
        self._clock = clock
        self._seen = self._look()
        self._next_look = clock.now() + CHECK_SECONDS

    def changed(self) -> bool:
        """Whether a file is another one than when this was last asked; True once for each change."""
        if self._clock.now() < self._next_look:
            return False
        self._next_look = self._clock.now() + CHECK_SECONDS
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> list[tuple[int, ...] | None]:
        return [_fingerprint(path) for path in self._paths]


def _fingerprint(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    # ctime beside mtime: a tool that keeps the times of what it copies cannot set it.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
