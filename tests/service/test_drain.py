"""The end of `antiphon serve`: in good order, in time, with nothing left behind."""

import asyncio
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import antiphon_serve, connected, dial
from served import refusal, until

from antiphon.v1 import dialogue_pb2_grpc, events_pb2, model_info_pb2

CODE = grpc.StatusCode
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_answers_under_way_are_finished_and_nothing_begins() -> None:
    async def test() -> None:
        async with connected(server) as channel:
            assert server.events().count("serving") == 1
            health = health_pb2_grpc.HealthStub(channel)
            watch = health.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            talking, idle = await dial(channel, "Hello.", tokens=80), await dial(channel)
            server.signal()

            assert (await watch.read()).status == NOT_SERVING  # from the start of the drain
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
            info = dialogue_pb2_grpc.DialogueServiceStub(channel).GetModelInfo
            refused = await refusal(info(model_info_pb2.GetModelInfoRequest()))
            assert (refused.code, refused.reason) == (CODE.UNAVAILABLE, "DRAINING")

            for caller in (idle, talking):
                ended = await refusal(caller.take_all())
                assert (ended.code, ended.reason) == (CODE.UNAVAILABLE, "DRAINING")
                assert caller.go_away is not None and caller.go_away.reason == events_pb2.GoAway.REASON_DRAINING
                assert 0 < caller.go_away.time_left.seconds <= 30
            assert talking.events[-1] == "response_completed" and "audio_completed" in talking.events
            assert idle.events == ["session_started", "go_away"]
            assert await server.exit_code() == 0
        assert server.events()[-1] == "stopped" and not server.other_lines, server.other_lines

    with antiphon_serve() as server:
        asyncio.run(test())


def test_when_time_is_up_calls_are_ended() -> None:
    async def test() -> None:
        async with connected(server) as channel:
            talking = await dial(channel, "Hello.")
            server.signal()
            ended = await refusal(talking.take_all())
            assert (ended.code, ended.reason) == (CODE.UNAVAILABLE, "DRAINING")
            assert talking.go_away is not None and "response_completed" not in talking.events
            assert await server.exit_code() == 0

    with antiphon_serve("--drain-timeout", "0.5") as server:
        asyncio.run(test())


def test_a_second_signal_ends_them_at_once() -> None:
    async def test() -> None:
        async with connected(server) as channel:
            talking = await dial(channel, "Hello.")
            deaf = await dial(channel, "Hello.")  # it reads nothing more
            server.signal()
            await talking.take_until("go_away")
            server.signal()
            async with asyncio.timeout(3.0):
                ended = await refusal(talking.take_all())
            assert (ended.code, ended.reason) == (CODE.UNAVAILABLE, "DRAINING")
            assert await server.exit_code() == 0
            del deaf
        assert "drain_hastened" in server.events()

    with antiphon_serve("--drain-timeout", "600") as server:
        asyncio.run(test())


@pytest.mark.parametrize("moment", ["loading", "warming"])
def test_a_signal_before_it_serves_ends_it_in_good_order(moment: str) -> None:
    async def test() -> None:
        if moment == "loading":
            assert await until(_catches_sigterm(server.process.pid), 30.0)
        else:
            port = int(options[1])
            assert await until(lambda: _is_listening(port), 60.0)
        server.signal()
        assert await server.exit_code() == 0, server.other_lines

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options = ("--port", str(free.getsockname()[1]))
    with antiphon_serve(*options) as server:
        asyncio.run(test())


def _catches_sigterm(pid: int) -> Callable[[], bool]:
    """Whether a process has said what it does about SIGTERM."""

    def catches() -> bool:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    return catches


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_address_that_is_taken_is_told_in_a_sentence() -> None:
    async def test() -> None:
        assert await server.exit_code(60.0) == 1
        server.reader.join()
        # One line for people, and none of the gRPC core's own.
        assert ["cannot be listened on" in line for line in server.other_lines] == [True], server.other_lines

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with antiphon_serve("--port", str(taken.getsockname()[1])) as server:
            asyncio.run(test())


def test_an_open_door_is_warned_of() -> None:
    async def test() -> None:
        await server.serving_port()
        assert server.logged("open_to_the_network_without_keys") is not None
        assert server.logged("open_to_the_network_without_tls") is not None
        server.signal()
        assert await server.exit_code() == 0

    with antiphon_serve("--host", "0.0.0.0") as server:
        asyncio.run(test())
