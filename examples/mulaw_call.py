"""A telephone call: 8 kHz µ-law in, 8 kHz µ-law out, both all the time.

    antiphon serve
    python examples/mulaw_call.py demo/clips/tt-weasels.wav

This is the shape of a bridge to a telephone network: one task hands over what the caller says, 20 ms at a time, silence
included; the other plays what comes back. The server hears when a turn is over, and when the caller interrupts.
"""

import argparse
import asyncio
from pathlib import Path

import antiphon
from antiphon.client import (
    MULAW_8K,
    AudioOutput,
    Call,
    CallConfig,
    Interrupted,
    ResponseCompleted,
    TextDelta,
    TurnDetection,
    TurnEnded,
)
from antiphon.engine.hear.codec import read_audio
from antiphon.engine.hear.resample import resample

PACKET = 160  # bytes: 20 ms of 8 kHz µ-law, as a telephone network sends it
SILENCE = b"\xff" * PACKET  # µ-law zero


async def speak(call: Call, speech: bytes, hung_up: asyncio.Event) -> None:
    """The caller's line: the recording, then silence, a packet every 20 ms of the clock."""
    clock = asyncio.get_running_loop().time
    begun, sent = clock(), 0
    while not hung_up.is_set():
        packet = speech[sent * PACKET : (sent + 1) * PACKET] or SILENCE
        await call.push_audio(packet)
        sent += 1
        await asyncio.sleep(begun + sent * 0.02 - clock())


async def main(target: str, question: Path, out: Path) -> None:
    pcm, rate = read_audio(question)
    speech = MULAW_8K.encode(resample(pcm[0], rate, MULAW_8K.rate))
    config = CallConfig(
        input_audio=MULAW_8K,
        output_audio=MULAW_8K,
        output_chunk=0.02,
        turn_detection=TurnDetection(end_silence=0.6),
        resume_window=30,  # the client comes back by itself if the line breaks
    )
    played = bytearray()  # a real player would send this to the telephone as it comes
    hung_up = asyncio.Event()
    async with antiphon.Client(target) as client, client.call(config) as call:
        speaking = asyncio.create_task(speak(call, speech, hung_up))
        async for event in call.events():
            match event:
                case TurnEnded():
                    print(f"the caller said {(event.end_sample - event.start_sample) / 8_000:.2f} s")
                case TextDelta():
                    print(event.text, end="", flush=True)
                case AudioOutput():
                    played += event.data  # at most 1 s ahead of what the caller hears
                case Interrupted():
                    del played[event.heard_samples :]  # empty the player: the caller speaks
                case ResponseCompleted():  # it was heard to its end, by the server's clock
                    print(f"\nanswered, first audio after {event.timing.first_audio or 0:.3f} s")
                    break
        hung_up.set()
        await speaking
    out.write_bytes(bytes(played))
    print(f"{out}: {len(played) / 8_000:.2f} s of µ-law (ffplay -f mulaw -ar 8000 {out})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Call a server as a telephone does.")
    parser.add_argument("question", type=Path, nargs="?", default=Path("demo/clips/tt-weasels.wav"))
    parser.add_argument("--server", default="localhost:50051")
    parser.add_argument("--out", type=Path, default=Path("answer.ul"))
    options = parser.parse_args()
    asyncio.run(main(options.server, options.question, options.out))
