"""Every format, in and out, in pieces of every size."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from compare import assert_close
from tolerances import TOLERANCE
from wire import HANGS, MANUAL, UNPACED, asked_of_the_engine, clip, mulaw_question, serving, spoken, target, tiny_engine

import antiphon
from antiphon.client import ALAW_8K, MULAW_8K, AudioEncoding, AudioFormat, AudioOutput, Sampling, linear16
from antiphon.engine.hear.codec import decode_mu_law
from antiphon.engine.hear.resample import resample

BRIEF = Sampling(temperature=0.0, max_output_tokens=2)
FORMATS = [MULAW_8K, ALAW_8K, *map(linear16, (8_000, 16_000, 22_050, 24_000, 48_000))]


def with_client(test: Callable[[antiphon.Client], Awaitable[None]]) -> None:
    async def run() -> None:
        async with serving(tiny_engine(), UNPACED) as server, antiphon.Client(target(server)) as client:
            await test(client)

    asyncio.run(asyncio.wait_for(run(), HANGS))


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def test_every_format_is_heard_as_the_python_face_hears_it() -> None:
    pcm, rate = clip()

    async def test(client: antiphon.Client) -> None:
        for audio_format in FORMATS:
            data = audio_format.encode(resample(pcm[:6_000], rate, audio_format.rate))
            tokens = await client.tokenize(data, audio_format)
            assert tokens == tiny_engine().tokenizer.encode(audio_format.decode(data), audio_format.rate), audio_format
            async with client.call(spoken(input_audio=audio_format, sampling=BRIEF)) as call:
                await call.push_audio(data)
                await call.commit()
                await call.finish()
                answer = await call.answer()
            assert list(answer.completed.history[0].speech or ()) == tokens, audio_format
            assert answer.completed.usage.input_audio_duration == pytest.approx(0.75, abs=1e-3)

    with_client(test)


def test_every_format_is_spoken_and_is_the_resampled_wave() -> None:
    async def test(client: antiphon.Client) -> None:
        async with client.call(MANUAL) as call:
            await call.push_text("hello")
            await call.finish()
            wave = (await call.answer()).audio.samples
        for audio_format in FORMATS:
            async with client.call(spoken(output_audio=audio_format)) as call:
                await call.push_text("hello")
                await call.finish()
                answer = await call.answer()
            expected = resample(wave, 22_050, audio_format.rate)
            # The wave was read from 16 bits, and is told in 16 bits again, or in a law's steps.
            steps = 3 / 32_768
            if audio_format.encoding is not AudioEncoding.LINEAR16:
                steps = float(np.abs(expected).max()) / 16
            assert_close(answer.audio.samples, expected, TOLERANCE["resampled"] + steps, str(audio_format))

    with_client(test)


def test_packets_have_the_length_that_was_asked_for() -> None:
    async def test(client: antiphon.Client) -> None:
        for audio_format, chunk in ((MULAW_8K, 0.02), (MULAW_8K, 0.0333), (linear16(22_050), 0.02), (MULAW_8K, 0.2)):
            async with client.call(spoken(output_audio=audio_format, output_chunk=chunk)) as call:
                await call.push_text("hello")
                await call.finish()
                packets = [event async for event in call.events() if isinstance(event, AudioOutput)]
            sizes = [len(packet.data) // audio_format.sample_bytes for packet in packets]
            assert set(sizes[:-1]) == {int(chunk * audio_format.rate)} and 0 < sizes[-1] <= sizes[0]

    with_client(test)


@pytest.mark.parametrize("audio_format", [MULAW_8K, linear16(16_000)], ids=["mulaw", "linear16"])
def test_audio_in_pieces_is_the_audio(audio_format: AudioFormat) -> None:
    data = audio_format.encode(decode_mu_law(mulaw_question()[:6_000]))
    width = audio_format.sample_bytes
    cuts = [0, 0, width, 2 * width, 160 * width, 160 * width, 161 * width, 5_000 * width]

    async def test(client: antiphon.Client) -> None:
        heard = []
        for parts in ([data], pieces(data, cuts)):
            async with client.call(spoken(input_audio=audio_format)) as call:
                for part in parts:
                    await call.push_audio(part)
                await call.commit()
                await call.finish()
                answer = await call.answer()
            heard.append((answer.completed.history, answer.audio.data))
        assert heard[0] == heard[1]

    with_client(test)


def test_absurd_audio_is_audio() -> None:
    square = np.where(np.arange(16_000) % 100 < 50, 1.0, -1.0).astype(np.float32)
    dc = np.ones(8_000, np.float32)
    spikes = np.zeros(8_000, np.float32)
    spikes[::997] = -1.0

    async def test(client: antiphon.Client) -> None:
        for wave in (square, dc, spikes):
            data = linear16(16_000).encode(wave)
            async with client.call(spoken(input_audio=linear16(16_000))) as call:
                await call.push_audio(data)
                await call.commit()
                await call.finish()
                answer = await call.answer()
            (expected,) = await asked_of_the_engine(tiny_engine(), linear16(16_000).decode(data), 16_000)
            assert list(answer.completed.history[0].speech or ()) == expected.heard_ids
            assert list(answer.completed.history[1].ids or ()) == expected.answer_ids

    with_client(test)
