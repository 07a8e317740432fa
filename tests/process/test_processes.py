"""A server of real processes, and what befalls them: one server for all of it, which has to come through."""

import asyncio
import os
import signal
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import Caller, Process, antiphon_serve, connected, dial, running_in_group
from served import refusal, until

from antiphon.v1 import dialogue_pb2_grpc, model_info_pb2

CODE = grpc.StatusCode
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
PATIENCE = 5.0  # the default is less, and tests share their machine


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    with antiphon_serve("--frontends", "2", "--engine-patience", str(PATIENCE)) as server:
        yield server


async def channels_to_both(server: Process) -> dict[str, grpc.aio.Channel]:
    """A connection to each frontend, by its name: the kernel chooses, so there are as many attempts as it takes."""
    found: dict[str, grpc.aio.Channel] = {}
    port = await server.serving_port()
    while len(found) < 2:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        before = len(server.lines)
        try:
            (await dial(channel)).call.cancel()
        except grpc.aio.AioRpcError:  # a frontend that has only begun
            await asyncio.sleep(0.1)
            continue

        def ended(before: int = before) -> list[str]:
            return [line["process"] for line in server.lines[before:] if line["event"] == "dialogue_ended"]

        assert await until(lambda: bool(ended()), 60.0)
        if ended()[0] in found:
            await channel.close()
        else:
            found[ended()[0]] = channel
    return found


async def until_serving(server: Process) -> None:
    """Every frontend has the engine again."""
    port = await server.serving_port()
    in_a_row = 0
    while in_a_row < 8:  # connections fall to either frontend
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            try:
                status = (await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())).status
            except grpc.aio.AioRpcError:
                status = NOT_SERVING
        in_a_row = in_a_row + 1 if status == SERVING else 0
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_an_engine_that_dies_or_stands_still_is_replaced(server: Process, blow: signal.Signals) -> None:
    async def test() -> None:
        channels = await channels_to_both(server)
        await until_serving(server)
        callers: list[Caller] = [await dial(channel, "Hello.", tokens=400) for channel in channels.values()]
        health = health_pb2_grpc.HealthStub(channels["frontend-0"]).Watch(health_pb2.HealthCheckRequest())
        assert (await health.read()).status == SERVING
        engine = server.pids("engine-0")[-1]
        server.process.send_signal(signal.SIGSTOP)  # so that no other engine comes before all was looked at
        os.kill(engine, blow)

        for caller in callers:
            ended = await refusal(caller.take_all())
            assert (ended.code, ended.reason, ended.retry) == (CODE.UNAVAILABLE, "ENGINE_LOST", True), ended
        assert (await health.read()).status == NOT_SERVING
        info = dialogue_pb2_grpc.DialogueServiceStub(channels["frontend-0"]).GetModelInfo
        refused = await refusal(info(model_info_pb2.GetModelInfoRequest()))
        assert (refused.code, refused.reason, refused.retry) == (CODE.UNAVAILABLE, "NOT_READY", True), refused
        server.process.send_signal(signal.SIGCONT)
        assert (await health.read()).status == SERVING  # another engine is warm
        for name, channel in channels.items():
            await until_serving(server)
            assert "audio" in (await dial(channel, "Hello.", tokens=60)).events, name
            await channel.close()
        assert await server.pid_after("engine-0", engine) != engine

    asyncio.run(test())


def test_an_engine_that_dies_beside_another_ends_its_own_calls_alone() -> None:
    async def test(server: Process) -> None:
        async with connected(server) as channel:
            assert await until(lambda: server.events().count("frontend_joined") == 2, 120.0)
            callers = [await dial(channel, "Hello.", tokens=400) for _ in range(2)]
            os.kill(server.pids("engine-1")[-1], signal.SIGKILL)
            ends = await asyncio.gather(
                *(caller.take_until("response_completed") for caller in callers), return_exceptions=True
            )
            lost = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
            assert len(lost) == 1 and lost[0].code() == CODE.UNAVAILABLE and ends.count(None) == 1, ends
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == SERVING
            for caller in callers:
                caller.call.cancel()
            while True:
                try:
                    assert "audio" in (await dial(channel, "Hello.", tokens=60)).events
                    return
                except grpc.aio.AioRpcError as error:  # until the engine has let the other go
                    assert error.code() == CODE.RESOURCE_EXHAUSTED
                    await asyncio.sleep(0.1)

    with antiphon_serve("--device", "cpu,cpu", "--max-dialogues", "1") as server:
        asyncio.run(test(server))
        server.signal()
        assert asyncio.run(server.exit_code(60.0)) == 0


def test_an_engine_that_cannot_be_started_ends_the_server_before_it_serves() -> None:
    with antiphon_serve("--device", "cpu,cuda:7") as server:
        assert asyncio.run(server.exit_code(120.0)) == 1
        assert "serving" not in server.events()
        assert "'cuda:7' was asked for" in "".join(server.other_lines)


def test_a_frontend_that_dies_is_replaced_and_the_others_calls_go_on(server: Process) -> None:
    async def test() -> None:
        await until_serving(server)
        channels = await channels_to_both(server)
        dying, staying = channels["frontend-0"], channels["frontend-1"]
        await dial(dying, "Hello.", tokens=400)
        talking = await dial(staying, "Hello.", tokens=80)
        left = sum(line["event"] == "frontend_left" for line in server.lines)
        frontend = server.pids("frontend-0")[-1]
        os.kill(frontend, signal.SIGKILL)
        await talking.take_until("response_completed")
        talking.call.cancel()
        assert await until(lambda: sum(line["event"] == "frontend_left" for line in server.lines) > left, 60.0)
        gone = [line for line in server.lines if line["event"] == "frontend_left"][-1]
        assert gone["process"] == "engine-0" and gone["dialogues"] == 1  # and the engine closed it
        await server.pid_after("frontend-0", frontend)
        await until_serving(server)
        for channel in (await channels_to_both(server)).values():
            await channel.close()

    asyncio.run(test())


def test_children_do_not_outlive_their_supervisor(server: Process) -> None:
    async def test() -> None:
        await until_serving(server)
        assert len(running_in_group(server.process.pid)) == 4
        os.kill(server.pids("frontend-1")[-1], signal.SIGSTOP)  # one that cannot see it
        server.process.kill()
        assert await until(lambda: not running_in_group(server.process.pid), 30.0)

    asyncio.run(test())
