"""Server reflection: a client without our .proto files asks what the calls are (grpcurl)."""

from collections.abc import AsyncIterator
from typing import Any, Final

from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection import SERVICE_NAME

from antiphon.engine.service.endpoints import Call, Endpoint

_MAX_REQUEST_BYTES: Final = 4_096
_FIRST_SECONDS: Final = 10.0


def reflection_endpoints(services: tuple[str, ...]) -> list[Endpoint]:
    """The one method that tells of `services`. It asks for a key as every call does."""
    servicer: Any = ReflectionServicer((*services, SERVICE_NAME))

    async def tell(call: Call[Any, Any]) -> None:
        requests: AsyncIterator[Any] = call.requests(_FIRST_SECONDS)
        async for response in servicer.ServerReflectionInfo(requests, None):
            await call.send(response)

    return [
        Endpoint(SERVICE_NAME, "ServerReflectionInfo", reflection_pb2.ServerReflectionRequest, tell, _MAX_REQUEST_BYTES)
    ]
