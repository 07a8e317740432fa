"""A frontend's side of what the supervisor counts for all of them (`SharedQuotas`)."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from antiphon.engine.process.frontend_messages import (
    Denied,
    GiveBack,
    Granted,
    TakeAudio,
    TakeClip,
    TakeDialogue,
)
from antiphon.engine.service.quotas import Lease
from antiphon.engine.service.refusals import QuotaError


class Counted:
    """Asks the supervisor. Used on one asyncio loop."""

    def __init__(self, send: Callable[[Any], None], counts_audio: bool) -> None:
        """`send` gives a message to the supervisor; without `counts_audio` audio has no limit."""
        self._send = send
        self._counts_audio = counts_audio
        self._serials = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Granted]] = {}
        self._spare: dict[str | None, float] = {}  # seconds of audio by key, granted in advance

    async def dialogue(self, key: str | None) -> Lease:
        """A key opens a dialogue. Raises QuotaError."""
        number = next(self._serials)
        return await self._lease(TakeDialogue(number, key))

    async def clip(self) -> Lease:
        """A clip is heard or spoken. Raises QuotaError."""
        return await self._lease(TakeClip(next(self._serials)))

    async def take_audio(self, key: str | None, samples: int, rate: int) -> None:
        """A key sends audio. Raises QuotaError."""
        if not self._counts_audio:
            return
        seconds = samples / rate
        if self._spare.get(key, 0.0) >= seconds:
            self._spare[key] -= seconds
            return
        granted = await self._ask(TakeAudio(next(self._serials), key, samples, rate))
        self._spare[key] = self._spare.get(key, 0.0) + granted.spare_seconds

    def answered(self, answer: Granted | Denied) -> None:
        """The supervisor has decided."""
        asked = self._asked.pop(answer.request, None)
        if asked is None or asked.done():
            if isinstance(answer, Granted):  # whoever asked has gone meanwhile
                self._send(GiveBack(answer.request))
        elif isinstance(answer, Granted):
            asked.set_result(answer)
        else:
            asked.set_exception(
                QuotaError(answer.reason, answer.message, answer.subject, answer.limit, answer.retry_after)
            )

    async def _lease(self, take: TakeDialogue | TakeClip) -> Lease:
        await self._ask(take)
        return Lease(lambda: self._send(GiveBack(take.request)))

    async def _ask(self, take: TakeDialogue | TakeClip | TakeAudio) -> Granted:
        asked: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()
        self._asked[take.request] = asked
        self._send(take)
        return await asked
