"""What a caller of the embedded engine may rely on."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest
from callers import Received, ask, receive
from checkpoints import tiny_checkpoint
from compare import assert_close
from engines import exact_engine
from goldens import golden

import antiphon
from antiphon.engine.config import EngineConfig, SessionConfig
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.think.sampling import SamplingParams
from antiphon.events import FinishReason


@pytest.fixture(scope="module")
def engine() -> Iterator[antiphon.Engine]:
    with exact_engine() as engine:
        yield engine
        stats = engine.stats
        assert (stats.dialogues, stats.turns, stats.free_pages) == (0, 0, stats.total_pages), stats


def clip(name: str) -> tuple[np.ndarray, int]:
    pcm, rate = read_audio(golden(f"speech_tokenizer/wav/{name}.wav"))
    return pcm[0], rate


def greedy(**settings: int) -> SessionConfig:
    return SessionConfig(sampling=SamplingParams(temperature=0.0, max_new_tokens=settings.get("max_new_tokens", 200)))


def one_turn(engine: antiphon.Engine, pcm: np.ndarray, rate: int, config: SessionConfig | None = None) -> Received:
    async def run() -> Received:
        async with engine.session(config or greedy()) as session:
            return await ask(session, pcm, rate)

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["rate_8000", "en_speech"])
def test_a_turn_is_tok_encode_then_generate_then_dec_stream(engine: antiphon.Engine, name: str) -> None:
    pcm, rate = clip(name)
    received = one_turn(engine, pcm, rate)

    codes = engine.tokenizer.encode(pcm, rate)
    assert received.heard_ids == codes
    prompt = engine.lm.chat_prompt([codes])
    expected = engine.lm.generate(prompt, max_new_tokens=200)
    assert [*received.answer_ids, engine.lm.vocabulary.control_id("<|user|>")] == expected
    assert received.completed.finish_reason is FinishReason.STOP
    assert received.text == engine.lm.decode_text(received.answer_ids) and received.text

    stream = engine.decoder.stream("reference")
    waves = []
    for token in received.answer_ids:
        speech = engine.lm.vocabulary.is_speech(token)
        waves.append(stream.push([engine.lm.vocabulary.speech_code(token)]) if speech else stream.push_text())
    waves.append(stream.finish("stop"))
    assert_close(received.wave, np.concatenate(waves), 0.0, "the session's wave")
    assert received.wave.size > 22_050


def test_audio_pushed_in_pieces_is_the_same_turn(engine: antiphon.Engine) -> None:
    pcm, rate = clip("rate_8000")

    async def run() -> Received:
        async with engine.session(greedy()) as session:
            return await ask(session, pcm, rate, cuts=[1, 2, 160, 3_201, 8_000])

    whole = one_turn(engine, pcm, rate)
    pieces = asyncio.run(run())
    assert pieces.heard_ids == whole.heard_ids and pieces.answer_ids == whole.answer_ids
    assert_close(pieces.wave, whole.wave, 0.0, "wave")


def test_eight_dialogues_at_once_answer_as_alone(engine: antiphon.Engine) -> None:
    async def answer(seed: int) -> Received:
        sampling = SamplingParams(temperature=0.8, top_p=0.9, seed=seed, max_new_tokens=60)
        async with engine.session(SessionConfig(sampling=sampling)) as session:
            await session.push_text(f"question number {seed}")
            await session.commit()
            return await receive(session)

    async def together() -> list[Received]:
        return await asyncio.gather(*map(answer, range(8)))

    for seed, received in enumerate(asyncio.run(together())):
        prompt = engine.lm.chat_prompt([f"question number {seed}"])
        alone = engine.lm.generate(prompt, max_new_tokens=60, temperature=0.8, top_p=0.9, seed=seed)
        assert received.answer_ids == alone


def test_the_past_is_part_of_the_next_prompt(engine: antiphon.Engine) -> None:
    pcm, rate = clip("short_0p3s")

    async def run(session: antiphon.Session) -> list[Received]:
        async with session:
            first = await ask(session, pcm, rate)
            await session.push_text("and now in writing")
            await session.commit()
            second = await receive(session)
            assert session.history == first.completed.history + second.completed.history
            return [first, second]

    first, second = asyncio.run(run(engine.session(greedy())))
    prompt = engine.lm.chat_prompt([first.heard_ids, first.answer_ids, "and now in writing"])
    assert second.answer_ids == engine.lm.generate(prompt, max_new_tokens=200)[:-1]
    assert second.completed.usage.cached_input_tokens > 0

    async def resumed() -> Received:
        config = SessionConfig(sampling=greedy().sampling, history=first.completed.history)
        async with engine.session(config) as session:
            await session.push_text("and now in writing")
            await session.commit()
            return await receive(session)

    assert asyncio.run(resumed()).answer_ids == second.answer_ids, "a dialogue can be rebuilt from its history"


def test_cancel_keeps_a_prefix_and_the_dialogue_goes_on(engine: antiphon.Engine) -> None:
    async def run() -> tuple[Received, Received]:
        async with engine.session(greedy()) as session:
            await session.push_text("tell me a long story")
            await session.commit()
            events = session.events()
            async for event in events:
                if isinstance(event, antiphon.events.AudioOutput):
                    break
            await session.cancel(heard_seconds=0.5)
            cut = await receive(session)
            await session.push_text("thank you")
            await session.commit()
            return cut, await receive(session)

    cut, following = asyncio.run(run())
    assert cut.completed.finish_reason is FinishReason.INTERRUPTED
    assert cut.interrupted is not None and not cut.interrupted.estimated
    kept = cut.answer_ids
    uncut = engine.lm.generate(engine.lm.chat_prompt(["tell me a long story"]), max_new_tokens=200)
    assert kept == uncut[: len(kept)] and engine.lm.vocabulary.is_speech(kept[-1])
    assert sum(map(engine.lm.vocabulary.is_speech, kept)) == 6, "0.5 s are six whole speech tokens"
    prompt = engine.lm.chat_prompt(["tell me a long story", kept, "thank you"])
    assert following.answer_ids == engine.lm.generate(prompt, max_new_tokens=200)[:-1]


def test_answers_are_the_same_on_the_smallest_pool_that_holds_one() -> None:
    texts = ["one", "two and a little more", "three"]

    def answers(config: EngineConfig) -> list[list[int]]:
        async def run(engine: antiphon.Engine) -> list[list[int]]:
            async def one(text: str) -> list[int]:
                async with engine.session(greedy(max_new_tokens=70)) as session:
                    await session.push_text(text)
                    await session.commit()
                    return (await receive(session)).answer_ids

            return await asyncio.gather(*map(one, texts))

        with exact_engine(config) as engine:
            result = asyncio.run(run(engine))
            assert engine.stats.free_pages == engine.stats.total_pages
            return result

    assert answers(EngineConfig(kv_tokens=176, page_size=16, batch_tokens=48)) == answers(EngineConfig())


def test_an_engine_at_rest_hands_memory_back_and_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    handed_back = threading.Event()
    monkeypatch.setattr("antiphon.engine.engine.IDLE_SECONDS", 0.01)
    monkeypatch.setattr("antiphon.engine.engine.give_back", handed_back.set)
    pcm, rate = clip("rate_8000")
    with exact_engine() as engine:
        first = one_turn(engine, pcm, rate, greedy(max_new_tokens=8))
        handed_back.wait()
        assert one_turn(engine, pcm, rate, greedy(max_new_tokens=8)).answer_ids == first.answer_ids


_LOAD: Final = """
import os, sys, torch, antiphon
torch.set_num_threads(2)
before = os.listdir("/proc/self/task")
antiphon.Engine.load(sys.argv[1], "cpu")
print(len(before), len(os.listdir("/proc/self/task")), torch.get_num_threads())
"""


def test_loading_leaves_the_cores_to_the_engines_thread() -> None:
    command = [sys.executable, "-c", _LOAD, str(tiny_checkpoint())]
    before, after, threads = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert after == before, "a second team of threads makes each slower"
    assert threads == "2"
