"""The asyncio loop of a caller, reached from the engine's thread."""

import asyncio
from collections.abc import Callable


class CallerLoop:
    """The loop that was running where this was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def post(self, function: Callable[..., object], *arguments: object) -> bool:
        """Have `function` called there soon. False where that loop has been closed: nobody is left to be told."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
            return False
        return True
