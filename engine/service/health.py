"""grpc.health.v1: may traffic come here?

Written anew because the official servicer tells its watchers one after the other: one that does not read would hold up
the news, and with it the shutdown.
"""

import asyncio
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from antiphon.engine.service.endpoints import Call, Endpoint
from antiphon.engine.service.quotas import OpenLimit
from antiphon.engine.service.refusals import Reason

SERVICE = "grpc.health.v1.Health"
_MAX_REQUEST_BYTES = 4_096
MAX_WATCHES = 256  # no key is asked of them, and each stays: they have a limit of their own
_Call = Call[HealthCheckRequest, HealthCheckResponse]


class Health:
    """SERVING or not, the same for every service of the server."""

    def __init__(self, services: tuple[str, ...], request_timeout: float) -> None:
        """`services` are the full names of those it speaks of, beside "", the server itself."""
        self._services = frozenset(("", *services))
        self._request_timeout = request_timeout  # seconds for a check to say what it is about
        self._watches = OpenLimit(MAX_WATCHES, Reason.SERVER_FULL, "watches")
        self._is_serving = False
        self._changed = asyncio.Event()  # replaced at every change

    @property
    def is_serving(self) -> bool:
        """Whether traffic may come."""
        return self._is_serving

    def set_serving(self, serving: bool) -> None:
        """Tell all who ask or watch."""
        self._is_serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    def endpoints(self) -> list[Endpoint]:
        """Check and Watch."""
        return [
            Endpoint(SERVICE, "Check", HealthCheckRequest, self._check, _MAX_REQUEST_BYTES, is_open=True),
            Endpoint(SERVICE, "Watch", HealthCheckRequest, self._watch, _MAX_REQUEST_BYTES, is_open=True),
        ]

    async def _check(self, call: _Call) -> None:
        request = await call.read_one(self._request_timeout)
        if request.service not in self._services:
            await call.fail(grpc.StatusCode.NOT_FOUND, "the server has no such service.")
        await call.send(HealthCheckResponse(status=self._status(request.service)))

    async def _watch(self, call: _Call) -> None:
        with self._watches.take("server"):
            request = await call.read_one(self._request_timeout)
            told: Any = None
            while True:
                changed, status = self._changed, self._status(request.service)
                if status != told:
                    await call.send(HealthCheckResponse(status=status))
                    told = status
                await changed.wait()

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if self._is_serving else HealthCheckResponse.NOT_SERVING
