"""Voice activity for all calls of a server: whoever has audio to be heard shares the next run of the network."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from antiphon.engine.hear.voice_activity import SpeechFrame, VoiceActivityState

INLINE_FRAMES: Final = 8  # up to so many in one round cost less than handing them to a thread: some 0.2 ms each


class FrameModel(Protocol):
    """The network: `antiphon.engine.hear.voice_activity.VoiceActivityModel`."""

    def advance(self, states: Sequence[VoiceActivityState]) -> list[list[SpeechFrame]]: ...


class VoiceActivityService:
    """Runs the network for many callers at once. Used on one asyncio loop. Its thread begins where needed."""

    def __init__(self, model: FrameModel) -> None:
        self._model = model
        self._waiting: list[tuple[VoiceActivityState, asyncio.Future[list[SpeechFrame]]]] = []
        self._run: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def frames(self, state: VoiceActivityState) -> list[SpeechFrame]:
        """Every whole frame that waits in `state`, in order. A state is given to one call of this at a time."""
        if not state.frames_waiting:
            return []
        future: asyncio.Future[list[SpeechFrame]] = asyncio.get_running_loop().create_future()
        self._waiting.append((state, future))
        if self._run is None or self._run.done():
            self._run = asyncio.create_task(self._serve(), name="voice-activity")
        return await future

    async def close(self) -> None:
        """End the thread, after the run that is under way."""
        if self._run is not None:
            await asyncio.gather(self._run, return_exceptions=True)
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    async def _serve(self) -> None:
        """Run until nobody waits. It begins on the loop's next turn, when all that came in this one are there."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await self._advance([state for state, _ in batch])
            except Exception as error:  # the callers of this run learn of it; those of the next run shall not
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), frames in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(frames)

    async def _advance(self, states: Sequence[VoiceActivityState]) -> list[list[SpeechFrame]]:
        if sum(state.frames_waiting for state in states) <= INLINE_FRAMES:
            return self._model.advance(states)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="voice-activity")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._model.advance, states)
