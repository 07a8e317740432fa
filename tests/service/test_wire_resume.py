"""The line breaks: the dialogue goes on over another, and nothing of it is lost or comes twice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from line import Line
from wire import (
    HANGS,
    MANUAL,
    PACED,
    UNPACED,
    RawCall,
    asked_of_the_engine,
    check_answer,
    check_order,
    mulaw_question,
    nothing_left,
    serving,
    spoken,
    target,
    tiny_engine,
)

import antiphon
from antiphon.client import AudioOutput, ResponseCompleted, Resumed, TurnDetection, TurnEnded
from antiphon.engine.hear.codec import decode_mu_law
from antiphon.engine.service.client_config import config_to_wire
from antiphon.engine.service.server import Server
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1 import dialogue_pb2, session_pb2

RESUMABLE = spoken(resume_window=20.0)


def with_server(test: Callable[[Server], Awaitable[None]], settings: ServiceSettings = UNPACED) -> None:
    async def run() -> None:
        async with serving(tiny_engine(), settings) as server:
            await test(server)
            await forgotten(server)

    asyncio.run(asyncio.wait_for(run(), HANGS))


async def forgotten(server: Server) -> None:
    async with asyncio.timeout(10):
        while len(server.host.dialogues):
            await asyncio.sleep(0.02)


def break_soon(line: Line, after: float = 0.0, seconds: float = 0.1) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(after, line.cut)
    loop.call_later(after + seconds, line.mend)


def test_a_line_that_breaks_again_and_again_changes_nothing() -> None:
    async def test(server: Server) -> None:
        question = mulaw_question()
        expected = await asked_of_the_engine(tiny_engine(), decode_mu_law(question), 8_000, "And then?")
        async with Line(server.port) as line, antiphon.Client(line.target) as client, client.call(RESUMABLE) as call:
            seen: list[Any] = []
            break_soon(line, 0.02)
            for start in range(0, len(question), 160):
                await call.push_audio(question[start : start + 160])
                await asyncio.sleep(0.002)
            await call.commit()
            await call.push_text("And then?")
            async for event in call.events():
                seen.append(event)
                if isinstance(event, (TurnEnded, AudioOutput)) and len(seen) % 7 == 3 and line.connections < 6:
                    break_soon(line)
                if sum(isinstance(one, ResponseCompleted) for one in seen) == 2:
                    await call.finish()
        assert sum(isinstance(event, Resumed) for event in seen) >= 2
        check_order(seen)
        completed = [event for event in seen if isinstance(event, ResponseCompleted)]
        for one, answer in zip(expected, completed, strict=True):
            assert list(answer.history[1].ids or ()) == one.answer_ids
            data = b"".join(
                event.data
                for event in seen
                if isinstance(event, AudioOutput) and event.response_id == answer.response_id
            )
            assert len(data) == 2 * one.wave.size
        assert list(completed[0].history[0].speech or ()) == expected[0].heard_ids, "no audio was lost or doubled"

    with_server(test)


def test_a_break_in_a_live_call_is_bridged() -> None:
    """SERVER_VAD: the caller speaks on while the line is down, and what was said meanwhile is heard."""

    async def test(server: Server) -> None:
        config = spoken(resume_window=20.0, turn_detection=TurnDetection(end_silence=0.4))
        speech = b"\xff" * 1_600 + mulaw_question() + b"\xff" * 8_000
        async with Line(server.port) as line, antiphon.Client(line.target) as client, client.call(config) as call:
            break_soon(line, 0.2, 0.3)
            for start in range(0, len(speech), 160):
                await call.push_audio(speech[start : start + 160])
                await asyncio.sleep(0.005)
            answer = await call.answer()
            await call.finish()
        async with antiphon.Client(target(server)) as client:
            async with client.call(spoken(turn_detection=TurnDetection(end_silence=0.4))) as call:
                await call.push_audio(speech)
                await call.finish()
                unbroken = await call.answer()
        assert answer.completed.history == unbroken.completed.history
        assert answer.audio.data == unbroken.audio.data

    with_server(test)


def test_a_dialogue_nobody_takes_up_ends_when_its_window_does() -> None:
    async def test(server: Server) -> None:
        window = spoken(resume_window=0.5)
        async with Line(server.port) as line, antiphon.Client(line.target) as client, client.call(window) as call:
            await call.push_text("hello")
            await anext(call.events())
            line.cut()
            with pytest.raises(antiphon.errors.ConnectionLostError):
                async for _ in call.events():
                    pass
        await forgotten(server)
        await nothing_left(server)

    with_server(test, PACED)


async def open_raw(server: Server, channel: grpc.aio.Channel, **config: Any) -> tuple[RawCall, Any]:
    call = RawCall(channel)
    wire = config_to_wire(RESUMABLE)
    wire.MergeFrom(session_pb2.SessionConfig(**config))
    await call.send(config=wire)
    return call, await call.until("session_started")


def resume(started: Any, last: int = 0, **changes: Any) -> dialogue_pb2.Resume:
    fields = {"session_id": started.session_id, "resume_token": started.resume_token, "last_event_sequence": last}
    return dialogue_pb2.Resume(**{**fields, **changes})


async def refused(channel: grpc.aio.Channel, request: dialogue_pb2.Resume) -> str:
    call = RawCall(channel)
    await call.send(resume=request)
    ending = await call.ending()
    assert ending.code == "FAILED_PRECONDITION"
    return ending.reason


def test_only_who_knows_the_secret_resumes_and_only_what_is_at_hand() -> None:
    async def test(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            call, started = await open_raw(server, channel)
            await call.send(text=dialogue_pb2.TextInput(text="hello"))
            await call.until("response_completed")
            last = call.seen[-1].event_sequence
            call.stream.cancel()
            assert await refused(channel, resume(started, resume_token="guess")) == "SESSION_UNKNOWN"
            assert await refused(channel, resume(started, resume_token="")) == "SESSION_UNKNOWN"
            assert await refused(channel, resume(started, session_id="nobody")) == "SESSION_UNKNOWN"
            assert await refused(channel, resume(started, last + 1)) == "EVENTS_LOST"
            assert await refused(channel, resume(started, -1)) == "EVENTS_LOST"
            # Refusals harmed nothing: the dialogue is still there.
            again = RawCall(channel)
            await again.send(resume=resume(started, 2))
            greeting = await again.until("session_started")
            assert greeting.resume_token == started.resume_token and greeting.config == started.config
            await again.until("response_completed")
            assert [event.event_sequence for event in again.seen] == [0, *range(3, last + 1)]
            assert again.seen[1:] == call.seen[3:], "each once, and as it was"
            await again.stream.done_writing()
            assert (await again.ending()).code == "OK"
            assert await refused(channel, resume(started)) == "SESSION_UNKNOWN", "ended is ended"

    with_server(test)


def test_a_call_that_only_seems_to_live_is_taken_over() -> None:
    async def test(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            old, started = await open_raw(server, channel)
            await old.send(audio=dialogue_pb2.AudioInput(data=mulaw_question()[:4_001]))
            await asyncio.sleep(0.1)
            new = RawCall(channel)
            await new.send(resume=resume(started))
            assert (await new.until("session_started")).next_input_sample == 4_001
            ending = await old.ending()
            assert (ending.code, ending.reason) == ("FAILED_PRECONDITION", "SESSION_RESUMED")
            await new.send(audio=dialogue_pb2.AudioInput(data=mulaw_question()[4_001:]))
            await new.send(commit_input=dialogue_pb2.CommitInput())
            ended = await new.until("turn_ended")
            assert (ended.start_sample, ended.end_sample) == (0, 8_000)
            completed = await new.until("response_completed")
            (expected,) = await asked_of_the_engine(tiny_engine(), decode_mu_law(mulaw_question()), 8_000)
            assert list(completed.history[0].speech_tokens.ids) == expected.heard_ids
            await new.stream.done_writing()
            await new.ending()

    with_server(test)


def test_what_was_lost_with_its_engine_does_not_wait_for_a_call() -> None:
    async def test(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            call, started = await open_raw(server, channel)
            call.stream.cancel()
            while not server.host.dialogues.waiting:
                await asyncio.sleep(0.02)
            (dialogue,) = server.host.dialogues.waiting
            dialogue._session.fail("the engine was lost")  # one of several: the server goes on
            while not dialogue.is_lost:
                await asyncio.sleep(0)
            assert await refused(channel, resume(started)) == "SESSION_UNKNOWN"
        await forgotten(server)  # long before its window ends

    with_server(test)


def test_without_a_window_there_is_nothing_to_resume() -> None:
    async def test(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            call = RawCall(channel)
            await call.send(config=config_to_wire(MANUAL))
            started = await call.until("session_started")
            assert started.resume_token == ""
            call.stream.cancel()
            await nothing_left(server)
            assert await refused(channel, resume(started)) == "SESSION_UNKNOWN"

    with_server(test)


def test_events_beyond_what_is_kept_are_lost_and_said_to_be() -> None:
    settings = ServiceSettings(port=0, max_output_lead=600.0, max_utilisation=0.0, max_resume_bytes=20_000)

    async def test(server: Server) -> None:
        async with grpc.aio.insecure_channel(target(server)) as channel:
            call, started = await open_raw(server, channel, resume_window=Duration(seconds=1))
            await call.send(text=dialogue_pb2.TextInput(text="hello"))
            await call.until("response_completed")
            last = call.seen[-1].event_sequence
            call.stream.cancel()
            assert await refused(channel, resume(started)) == "EVENTS_LOST"
            again = RawCall(channel)
            await again.send(resume=resume(started, last))
            await again.until("session_started")
            await again.stream.done_writing()
            assert (await again.ending()).code == "OK"

    with_server(test, settings)


def test_hanging_up_ends_a_dialogue_that_could_be_resumed() -> None:
    async def test(server: Server) -> None:
        async with antiphon.Client(target(server)) as client, client.call(RESUMABLE) as call:
            await call.push_text("hello")
            await call.push_audio(mulaw_question())
            await anext(call.events())
        assert not len(server.host.dialogues), "nobody is waited for"

    with_server(test)


def test_the_wire_answers_after_a_break_are_the_python_face_s() -> None:
    async def test(server: Server) -> None:
        expected = await asked_of_the_engine(tiny_engine(), decode_mu_law(mulaw_question()), 8_000)
        async with Line(server.port) as line, antiphon.Client(line.target) as client, client.call(RESUMABLE) as call:
            await call.push_audio(mulaw_question())
            await call.commit()
            break_soon(line, 0.05)
            check_answer(await call.answer(), expected[0], "the wave over two lines")

    with_server(test)
