"""Clips through the engine's thread: the same as through the models, beside dialogues."""

import asyncio

import numpy as np
import pytest
from callers import ask
from checkpoints import tiny_checkpoint
from compare import assert_close
from engines import exact_engine
from goldens import golden

import antiphon
from antiphon.engine.clips import ClipFailedError
from antiphon.engine.config import SessionConfig
from antiphon.engine.errors import AudioError, SessionClosedError, TokenError
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.think.sampling import SamplingParams
from antiphon.engine.types import Float32Array


def speech() -> tuple[Float32Array, int]:
    pcm, rate = read_audio(golden("speech_tokenizer/wav/rate_8000.wav"))
    return pcm[0], rate


async def encode(engine: antiphon.Engine, pcm: Float32Array, rate: int) -> list[int]:
    async with engine.encode(pcm, rate) as clip:
        return await clip.ids()


async def speak(engine: antiphon.Engine, codes: list[int]) -> Float32Array:
    async with engine.speak(codes) as clip:
        return np.concatenate([wave async for wave in clip.waves()])


def test_clips_equal_the_models_and_leave_a_dialogue_beside_them_unchanged() -> None:
    pcm, rate = speech()
    settings = SessionConfig(sampling=SamplingParams(temperature=0.0, max_new_tokens=100))
    codes = [7 * i % 16_000 for i in range(60)]

    async def dialogue() -> tuple[list[int], Float32Array]:
        async with engine.session(settings) as session:
            received = await ask(session, pcm, rate)
            return received.answer_ids, received.wave

    async def together() -> tuple[tuple[list[int], Float32Array], list[int], Float32Array]:
        return await asyncio.gather(dialogue(), encode(engine, pcm, rate), speak(engine, codes))

    with exact_engine() as engine:
        alone_ids, alone_wave = asyncio.run(dialogue())
        (ids, wave), encoded, spoken = asyncio.run(together())
        assert ids == alone_ids
        assert_close(wave, alone_wave, 0.0, "the dialogue's wave beside clips")
        assert encoded == engine.tokenizer.encode(pcm, rate)
        stream = engine.decoder.stream("reference")
        expected = np.concatenate([stream.push(codes), stream.finish("stop")])
        assert_close(spoken, expected, 0.0, "the clip's wave")
        stats = engine.stats
        assert (stats.clips, stats.dialogues, stats.free_pages) == (0, 0, stats.total_pages), stats


def test_what_goes_wrong_with_a_clip_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm, rate = speech()
    with antiphon.Engine.load(tiny_checkpoint(), device="cpu") as engine:
        with pytest.raises(AudioError, match="empty"):
            engine.encode(np.zeros(0, np.float32), rate)
        with pytest.raises(TokenError, match="99999"):
            engine.speak([99_999])
        with pytest.raises(TokenError, match="no speech tokens"):
            engine.speak([])

        run = engine.tokenizer.run

        def fails_at_short(requests: list[object]) -> object:
            if any(request.heard_frames < 8 for request in requests):  # type: ignore[attr-defined]
                raise RuntimeError("a fault of the device")
            return run(requests)  # type: ignore[arg-type]

        monkeypatch.setattr(engine.tokenizer, "run", fails_at_short)

        async def both() -> list[object]:
            return await asyncio.gather(
                encode(engine, pcm[:160], rate), encode(engine, pcm, rate), return_exceptions=True
            )

        failed, fine = asyncio.run(both())
        assert isinstance(failed, ClipFailedError) and "RuntimeError" in str(failed)
        monkeypatch.undo()
        assert fine == engine.tokenizer.encode(pcm, rate)

        async def left_early() -> None:
            async with engine.speak(list(range(500))) as clip:
                async for _ in clip.waves():
                    return

        asyncio.run(left_early())

        async def closed_under() -> None:
            async with engine.speak(list(range(500))) as clip:
                await asyncio.to_thread(engine.close)
                async for _ in clip.waves():
                    pass

        with pytest.raises(SessionClosedError, match="closed"):
            asyncio.run(closed_under())
