"""Every call of the service, by the client, against what the Python face answers."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio
import numpy as np
import pytest
from compare import assert_close
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from wire import (
    GREEDY,
    HANGS,
    MANUAL,
    UNPACED,
    answer_in,
    asked_of_the_engine,
    check_answer,
    check_order,
    clip,
    mulaw_question,
    serving,
    spoken,
    target,
    tiny_engine,
)

import antiphon
from antiphon.client import (
    MULAW_8K,
    AudioCompleted,
    CallConfig,
    FinishReason,
    RequestRefused,
    ResponseStarted,
    SpeechStarted,
    TurnDetection,
    TurnEnded,
    TurnEndReason,
    linear16,
)
from antiphon.engine.hear.codec import decode_mu_law, float_to_pcm16
from antiphon.engine.service.settings import ServiceSettings
from antiphon.v1 import dialogue_pb2

Test = Callable[[antiphon.Client], Awaitable[None]]


def with_client(test: Test, settings: ServiceSettings = UNPACED) -> None:
    async def run() -> None:
        async with serving(tiny_engine(), settings) as server, antiphon.Client(target(server)) as client:
            await test(client)

    asyncio.run(asyncio.wait_for(run(), HANGS))


def test_a_dialogue_over_the_wire_is_the_python_face_s_to_the_id_and_the_sample() -> None:
    async def test(client: antiphon.Client) -> None:
        expected = await asked_of_the_engine(tiny_engine(), decode_mu_law(mulaw_question()), 8_000, "And in winter?")
        async with client.call(MANUAL) as call:
            question = mulaw_question()
            for start in range(0, len(question), 160):
                await call.push_audio(question[start : start + 160])
            await call.commit()
            await call.push_text("And in winter?")
            await call.finish()
            for one in expected:
                answer = await call.answer()
                assert answer.audio.data == float_to_pcm16(one.wave).astype("<i2").tobytes()
                check_answer(answer, one, "wave")
                ours, theirs = answer.completed.usage, one.completed.usage
                assert (ours.input_tokens, ours.input_audio_tokens) == (theirs.input_tokens, theirs.input_audio_tokens)
                assert (ours.output_text_tokens, ours.output_audio_tokens) == (
                    theirs.output_text_tokens,
                    theirs.output_audio_tokens,
                )
                assert ours.output_audio_duration == pytest.approx(one.wave.size / 22_050, abs=1e-6)
                timing = answer.completed.timing
                assert timing.first_token is not None and timing.first_audio is not None and timing.total is not None
                assert 0 < timing.first_token <= timing.first_audio <= timing.total

    with_client(test)


def test_the_events_of_a_call_come_in_their_order() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(MANUAL) as call:
            for _ in range(2):
                await call.push_audio(mulaw_question())
                await call.commit()
            await call.commit()
            await call.push_text("in writing")
            await call.finish()
            events = [event async for event in call.events()]
        check_order(events)
        ended = [event for event in events if isinstance(event, TurnEnded)]
        assert [(turn.start_sample, turn.end_sample) for turn in ended] == [(0, 8_000), (8_000, 16_000), (16_000,) * 2]
        assert {turn.reason for turn in ended} == {TurnEndReason.COMMITTED}
        started = [event for event in events if isinstance(event, ResponseStarted)]
        assert [event.turn_index for event in started] == [0, 1, 2]
        assert [event.response_id for event in started] == [turn.response_id for turn in ended]
        refused = [event for event in events if isinstance(event, RequestRefused)]
        assert [(event.request, event.error.reason) for event in refused] == [("commit_input", "TURN_EMPTY")]

    with_client(test)


def test_a_dialogue_is_built_up_again_from_its_history() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(MANUAL) as call:
            await call.push_audio(mulaw_question())
            await call.commit()
            await call.push_text("go on")
            await call.finish()
            first, second = await call.answer(), await call.answer()
        async with client.call(spoken(history=first.completed.history)) as call:
            await call.push_text("go on")
            await call.finish()
            again = await call.answer()
        assert again.completed.history == second.completed.history
        assert again.audio.data == second.audio.data
        plain = spoken(text_deltas=False, turn_history=False)
        async with client.call(plain) as call:
            await call.push_text("go on")
            await call.finish()
            bare = await call.answer()
        assert bare.text == "" and bare.completed.history == () and bare.audio.data

    with_client(test)


def test_the_server_hears_when_a_turn_is_over() -> None:
    pcm, _ = clip()
    padded = np.concatenate([np.zeros(4_000), pcm[:12_000], np.zeros(12_000)]).astype(np.float32)
    line = MULAW_8K.encode(padded)

    async def test(client: antiphon.Client) -> None:
        detection = TurnDetection(end_silence=0.4, prefix_padding=0.2)
        async with client.call(spoken(turn_detection=detection)) as call:
            for start in range(0, len(line), 160):
                await call.push_audio(line[start : start + 160])
            heard, ended, events = None, None, []
            async for event in call.events():
                events.append(event)
                match event:
                    case SpeechStarted():
                        heard = heard or event
                    case TurnEnded():
                        ended = event
                        await call.finish()
            check_order(events)
        assert heard is not None and ended is not None
        assert ended.reason is TurnEndReason.SILENCE and ended.start_sample == heard.start_sample
        assert heard.start_sample == max(0, heard.speech_sample - 1_600) and 0.5 <= heard.probability <= 1
        assert ended.speech_end_sample is not None
        assert ended.end_sample - ended.speech_end_sample == pytest.approx(3_200, abs=256)
        turn = decode_mu_law(line)[ended.start_sample : ended.end_sample]
        (expected,) = await asked_of_the_engine(tiny_engine(), turn, 8_000)
        check_answer(await answer_in(events), expected, "wave")

    with_client(test)


def test_a_turn_held_open_is_answered_when_the_client_ends_its_side() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(spoken(turn_detection=TurnDetection())) as call:
            await call.push_audio(mulaw_question())
            await call.finish()
            answer = await call.answer()
            assert answer.completed.finish_reason is FinishReason.LENGTH and answer.audio.data
        async with client.call(MANUAL) as call:
            await call.push_audio(mulaw_question())
            await call.finish()
            assert [event async for event in call.events()] == [], "input nobody committed is dropped"

    with_client(test)


def test_a_turn_over_the_limit_is_committed_not_punished() -> None:
    config = antiphon.EngineConfig(max_turn_seconds=1.0)

    async def run() -> None:
        with antiphon.Engine(tiny_engine().tokenizer, tiny_engine().lm, tiny_engine().decoder, config) as engine:
            async with (
                serving(engine) as server,
                antiphon.Client(target(server)) as client,
                client.call(MANUAL) as call,
            ):
                await call.push_audio(mulaw_question() + mulaw_question()[:4_000])
                await call.commit()
                await call.finish()
                events = [event async for event in call.events()]
        ended = [event for event in events if isinstance(event, TurnEnded)]
        assert [(turn.reason, turn.start_sample, turn.end_sample) for turn in ended] == [
            (TurnEndReason.LIMIT, 0, 8_000),
            (TurnEndReason.COMMITTED, 8_000, 12_000),
        ]
        assert sum(isinstance(event, AudioCompleted) for event in events) == 2

    asyncio.run(asyncio.wait_for(run(), HANGS))


def test_respond_answers_one_turn_as_a_call_does() -> None:
    async def test(client: antiphon.Client) -> None:
        (expected,) = await asked_of_the_engine(tiny_engine(), decode_mu_law(mulaw_question()), 8_000)
        check_answer(await client.answer(mulaw_question(), MANUAL), expected, "wave")
        written = await client.answer("hello", CallConfig(sampling=GREEDY))
        async with client.call(spoken()) as call:
            await call.push_text("hello")
            await call.finish()
            live = await call.answer()
        assert written.audio.data == live.audio.data and written.completed.history == live.completed.history

    with_client(test)


def test_tokenize_and_detokenize_are_the_two_ends_of_a_turn() -> None:
    async def test(client: antiphon.Client) -> None:
        pcm = decode_mu_law(mulaw_question())
        tokens = await client.tokenize(mulaw_question(), MULAW_8K)
        assert tokens == tiny_engine().tokenizer.encode(pcm, 8_000)
        stream = tiny_engine().decoder.stream("reference")
        expected = np.concatenate([stream.push(tokens), stream.finish("stop")])
        pieces = [piece async for piece in client.detokenize(tokens)]
        assert [piece.sample_offset for piece in pieces] == list(
            np.cumsum([0, *(len(piece.data) // 2 for piece in pieces)])[:-1]
        )
        wave = np.concatenate([piece.samples for piece in pieces])
        assert_close(wave, expected, 0.51 / 32_768, "detokenized")

    with_client(test)


def test_the_model_is_described() -> None:
    async def test(client: antiphon.Client) -> None:
        info = await client.model_info()
        assert info.native_sample_rate == 22_050 and info.speech_tokens_per_second == 12.5
        assert info.codec_id and info.vocabulary_id and info.server_version
        assert {MULAW_8K, linear16(8_000), linear16(48_000)} <= set(info.input_formats) == set(info.output_formats)
        assert info.limits.max_turn_audio == 60 and info.limits.max_converse_message_bytes == 65_536
        assert info.limits.max_output_lead == UNPACED.max_output_lead

    with_client(test)


def test_the_same_seed_gives_the_same_answer() -> None:
    async def test(client: antiphon.Client) -> None:
        sampled = antiphon.client.Sampling(temperature=1.0, top_p=0.95, seed=7, max_output_tokens=40)
        answers = []
        for _ in range(2):
            async with client.call(spoken(sampling=sampled)) as call:
                await call.push_text("hello")
                await call.push_text("again")
                await call.finish()
                answers.append([(await call.answer()).completed.history for _ in range(2)])
        assert answers[0] == answers[1]

    with_client(test)


def test_health_and_reflection_are_the_standard_ones() -> None:
    async def run() -> None:
        settings = ServiceSettings(port=0, reflection=True)
        async with serving(tiny_engine(), settings) as server:
            async with grpc.aio.insecure_channel(target(server)) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for service in ("", "antiphon.v1.DialogueService"):
                    reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
                    assert reply.status == health_pb2.HealthCheckResponse.SERVING
            await asyncio.to_thread(reflect, target(server))

    def reflect(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            assert "antiphon.v1.DialogueService" in set(database.get_services())
            file = database.FindFileContainingSymbol("antiphon.v1.DialogueService")
            methods = {method.name for service in file.service for method in service.method}
            assert methods == {
                method.name for method in dialogue_pb2.DESCRIPTOR.services_by_name["DialogueService"].methods
            }

    asyncio.run(asyncio.wait_for(run(), HANGS))
