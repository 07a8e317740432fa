"""The client by itself, against a servicer that echoes: what was pushed is what arrived, whatever the line does."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from echo import MULAW, Echo, Response, noise, status, with_servicer
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from line import Line

import antiphon
from antiphon.client import (
    ALAW_8K,
    MULAW_8K,
    AudioEncoding,
    AudioOutput,
    Call,
    CallConfig,
    FinishReason,
    GoAway,
    GoAwayReason,
    InterruptionReason,
    RequestRefused,
    Resumed,
    TurnEnded,
    TurnEndReason,
    linear16,
)
from antiphon.engine.service.client_errors import error_of_status
from antiphon.engine.service.client_outbox import Outbox
from antiphon.v1 import audio_pb2, dialogue_pb2, dialogue_pb2_grpc, events_pb2


def test_a_call_pushes_commits_and_receives() -> None:
    echo = Echo()
    speech = noise(0, 100_001)  # more than one message holds

    async def test(port: int) -> None:
        async with antiphon.Client(f"127.0.0.1:{port}", api_key="secret") as client, client.call(MULAW) as call:
            await call.push_audio(speech)
            await call.commit()
            answer = await call.answer()
            assert answer.audio.data == speech and answer.text == "heard"
            assert answer.completed.finish_reason is FinishReason.STOP
            await call.push_text("and written")
            assert (await call.answer()).text == "and written"
            await call.finish()
            assert [event async for event in call.events()] == []
            with pytest.raises(antiphon.errors.SessionClosedError):
                await call.push_text("too late")

    with_servicer(echo, test)
    assert echo.keys == ["Bearer secret"]


def test_a_refused_request_is_an_event_and_an_exception_where_an_answer_was_awaited() -> None:
    async def test(port: int) -> None:
        async with antiphon.Client(f"127.0.0.1:{port}") as client, client.call(MULAW) as call:
            await call.commit()
            event = await anext(call.events())
            assert isinstance(event, RequestRefused) and event.request == "commit_input"
            assert isinstance(event.error, antiphon.errors.PreconditionError)
            assert (event.error.reason, event.error.retry_after) == ("TURN_EMPTY", 2.0)
            await call.commit()
            with pytest.raises(antiphon.errors.PreconditionError, match="TURN_EMPTY happened"):
                await call.answer()

    with_servicer(Echo(), test)


@pytest.mark.parametrize("cuts", [1, 4])
def test_a_broken_line_loses_and_repeats_nothing(cuts: int) -> None:
    echo = Echo()
    turns = [noise(turn, 16_000) for turn in range(6)]

    async def test(port: int) -> None:
        async with Line(port) as line, antiphon.Client(line.target) as client, client.call(MULAW) as call:
            talking = asyncio.create_task(talk(call))
            seen: list[Any] = []
            events = call.events()
            while sum(isinstance(event, TurnEnded) for event in seen) < 12:
                seen.append(await anext(events))
                if line.connections <= cuts and len(seen) % 9 == 5:
                    line.cut()
                    asyncio.get_running_loop().call_later(0.1, line.mend)
            await talking
            await call.finish()
            seen += [event async for event in events]
            data = [event.data for event in seen if isinstance(event, AudioOutput) and event.data]
            assert data == turns, "every turn is answered once, with all of its audio"
            resumed = [event for event in seen if isinstance(event, Resumed)]
            assert len(resumed) >= cuts and not any(event.lost_samples for event in resumed)
            assert not any(isinstance(event, RequestRefused) for event in seen), "probes are not told"

    async def talk(call: Call) -> None:
        for turn in turns:
            for start in range(0, len(turn), 160):
                await call.push_audio(turn[start : start + 160])
                await asyncio.sleep(0)
            await call.commit()
            await call.push_text("between")
            await asyncio.sleep(0.02)

    with_servicer(echo, test)
    assert bytes(echo.audio) == b"".join(turns)
    assert echo.requests.count("commit_input") == len(turns) == echo.requests.count("text")


def test_what_a_deaf_server_did_not_take_is_sent_again() -> None:
    echo = Echo()
    echo.deaf_after = 48_000
    speech = noise(3, 160_000)

    async def test(port: int) -> None:
        async with Line(port) as line, antiphon.Client(line.target) as client, client.call(MULAW) as call:
            await call.push_audio(speech)
            await call.commit()
            await call.push_text("after it")
            while len(echo.audio) < 48_000:
                await asyncio.sleep(0.01)
            line.cut()
            echo.deaf_after = None
            line.mend()
            assert (await call.answer()).audio.data == speech
            assert (await call.answer()).text == "after it"

    with_servicer(echo, test)
    assert bytes(echo.audio) == speech


def test_without_a_window_and_without_a_server_the_line_is_lost() -> None:
    async def test(port: int) -> None:
        async with Line(port) as line, antiphon.Client(line.target) as client:
            async with client.call(CallConfig(input_audio=MULAW_8K, output_audio=MULAW_8K)) as call:
                line.cut()
                with pytest.raises(antiphon.errors.ConnectionLostError):
                    await anext(call.events())
                with pytest.raises(antiphon.errors.ConnectionLostError):
                    await call.push_audio(b"more")
            with pytest.raises(antiphon.errors.ConnectionLostError):
                async with client.call():
                    pass

    with_servicer(Echo(), test)


def test_a_call_that_is_not_resumed_in_time_is_lost() -> None:
    async def test(port: int) -> None:
        config = dataclasses.replace(MULAW, resume_window=0.3)
        async with Line(port) as line, antiphon.Client(line.target) as client, client.call(config) as call:
            line.cut()
            with pytest.raises(antiphon.errors.ConnectionLostError):
                await anext(call.events())

    with_servicer(Echo(), test)


class Refusing(dialogue_pb2_grpc.DialogueServiceServicer):
    def __init__(self, code: int, reason: str) -> None:
        self.status = status(code, reason)

    async def Converse(self, requests: AsyncIterator[dialogue_pb2.ConverseRequest], context: Any) -> None:
        await anext(requests)
        await context.abort_with_status(rpc_status.to_status(self.status))

    async def Respond(self, request: dialogue_pb2.RespondRequest, context: Any) -> None:
        await context.abort_with_status(rpc_status.to_status(self.status))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (code_pb2.INVALID_ARGUMENT, antiphon.errors.RequestError),
        (code_pb2.FAILED_PRECONDITION, antiphon.errors.PreconditionError),
        (code_pb2.RESOURCE_EXHAUSTED, antiphon.errors.LimitError),
        (code_pb2.UNAUTHENTICATED, antiphon.errors.AuthenticationError),
        (code_pb2.UNAVAILABLE, antiphon.errors.UnavailableError),
        (code_pb2.INTERNAL, antiphon.errors.ServerError),
    ],
)
def test_errors_have_a_kind_a_reason_and_a_delay(code: int, kind: type[antiphon.errors.CallError]) -> None:
    async def test(port: int) -> None:
        async with antiphon.Client(f"127.0.0.1:{port}") as client:
            with pytest.raises(kind) as told:
                async with client.call(MULAW):
                    pass
            assert type(told.value) is kind
            assert (told.value.reason, told.value.retry_after) == ("REASON", 2.0)
            with pytest.raises(kind):
                await client.answer("hello", CallConfig(output_audio=MULAW_8K))

    with_servicer(Refusing(code, "REASON"), test)


def test_a_call_that_is_ended_while_it_speaks_knows_why() -> None:
    class Impatient(Echo):
        async def Converse(self, requests: AsyncIterator[dialogue_pb2.ConverseRequest], context: Any) -> None:
            config = (await anext(requests)).config
            await context.write(Response(session_started=events_pb2.SessionStarted(session_id="s", config=config)))
            for number in range(10):
                await anext(requests)
                text = events_pb2.TextDelta(text=str(number))
                await context.write(Response(event_sequence=number + 1, text_delta=text))
            told = status(code_pb2.RESOURCE_EXHAUSTED, "AUDIO_TOO_FAST")
            await context.abort_with_status(rpc_status.to_status(told))

    async def test(port: int) -> None:
        for _ in range(20):
            async with antiphon.Client(f"127.0.0.1:{port}") as client, client.call(MULAW) as call:
                with pytest.raises(antiphon.errors.LimitError) as told:
                    while True:
                        await call.push_audio(bytes(160))
                        await asyncio.sleep(0)
                assert told.value.reason == "AUDIO_TOO_FAST"
                seen = []
                with pytest.raises(antiphon.errors.LimitError):
                    async for event in call.events():
                        seen.append(event.text)
                assert seen == list("0123456789"), "what was told before is not lost"

    with_servicer(Impatient(), test)


def test_a_status_with_rubbish_in_it_is_still_an_error() -> None:
    rubbish = Packed(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    unknown = Packed(type_url="type.googleapis.com/nobody.Knows", value=b"\x01")
    error = error_of_status(status_pb2.Status(code=999, message="?", details=[unknown, rubbish]))
    assert isinstance(error, antiphon.errors.ServerError) and error.reason == ""


def test_a_drained_server_hands_the_dialogue_over() -> None:
    class Draining(Echo):
        async def Converse(self, requests: AsyncIterator[dialogue_pb2.ConverseRequest], context: Any) -> None:
            if self.keys:
                return await super().Converse(requests, context)
            self.keys.append(None)
            config = (await anext(requests)).config
            config.resume_window.FromSeconds(10)
            await context.write(
                Response(session_started=events_pb2.SessionStarted(session_id="s", resume_token="t", config=config))
            )
            away = events_pb2.GoAway(reason=events_pb2.GoAway.REASON_DRAINING, resume_token="other")
            await context.write(Response(go_away=away))
            await context.abort_with_status(rpc_status.to_status(status(code_pb2.UNAVAILABLE, "DRAINING")))

    async def test(port: int) -> None:
        async with antiphon.Client(f"127.0.0.1:{port}") as client, client.call(MULAW) as call:
            events = call.events()
            away = await anext(events)
            assert isinstance(away, GoAway) and away.reason is GoAwayReason.DRAINING and away.resumable
            await call.push_text("still there?")
            assert (await call.answer()).text == "still there?"

    with_servicer(Draining(), test)


def test_unknown_events_are_skipped_and_unknown_values_unspecified() -> None:
    class Newer(Echo):
        async def Converse(self, requests: AsyncIterator[dialogue_pb2.ConverseRequest], context: Any) -> None:
            config = (await anext(requests)).config
            await context.write(Response(session_started=events_pb2.SessionStarted(session_id="s", config=config)))
            await context.write(Response.FromString(Response(event_sequence=1).SerializeToString() + b"\xf2\x07\x01x"))
            await context.write(Response(event_sequence=2, turn_ended=events_pb2.TurnEnded(reason=77)))

    async def test(port: int) -> None:
        async with antiphon.Client(f"127.0.0.1:{port}") as client, client.call(MULAW) as call:
            event = await anext(call.events())
            assert isinstance(event, TurnEnded) and event.reason is TurnEndReason.UNSPECIFIED
            assert event.speech_end_sample is None

    with_servicer(Newer(), test)


def test_audio_goes_in_as_samples_or_bytes() -> None:
    ramp = np.linspace(-1, 1, 256, dtype=np.float32)
    for audio_format in (MULAW_8K, ALAW_8K, linear16(16_000)):
        data = audio_format.encode(ramp)
        assert len(data) == 256 * audio_format.sample_bytes
        assert audio_format.encode(data) == data
        assert audio_format.encode(np.asarray(np.rint(audio_format.decode(data) * 32_768), np.int16)) == data
        assert np.abs(audio_format.decode(data) - ramp).max() < 0.04
    with pytest.raises(antiphon.errors.AudioError, match="whole number of samples"):
        linear16(8_000).encode(b"odd")
    with pytest.raises(antiphon.errors.AudioError, match="NaN"):
        MULAW_8K.encode(np.full(4, np.nan, np.float32))


def test_the_client_s_enums_are_the_wire_s() -> None:
    for ours, theirs, prefix in (
        (AudioEncoding, audio_pb2.AudioEncoding, "AUDIO_ENCODING_"),
        (FinishReason, events_pb2.ResponseCompleted.FinishReason, "FINISH_REASON_"),
        (InterruptionReason, events_pb2.Interrupted.Reason, "REASON_"),
        (TurnEndReason, events_pb2.TurnEnded.Reason, "REASON_"),
        (GoAwayReason, events_pb2.GoAway.Reason, "REASON_"),
    ):
        named = {prefix + member.name: int(member) for member in ours}
        assert {name: value for name, value in theirs.items() if value} == {n: v for n, v in named.items() if v}


def test_an_outbox_keeps_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antiphon.engine.service.client_outbox.KEPT_BYTES", 1_000)

    async def run() -> None:
        outbox = Outbox(keeps=True)
        for _ in range(10):
            await outbox.put(dialogue_pb2.ConverseRequest(audio=dialogue_pb2.AudioInput(data=b"x" * 300)), 300)
            await outbox.take()
        outbox.resume_at(600)
        assert outbox.send_again(600) == 1_500, "from 600 to 2,100 nothing was kept"
        sent = b""
        outbox.finish()
        while (request := await outbox.take()) is not None:
            sent += request.audio.data
        assert len(sent) == 900 and outbox.next_sample == 1_500

    asyncio.run(run())
