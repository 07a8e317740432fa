"""Someone interrupts: the answer is cut where it was heard, and the dialogue goes on from there.

    antiphon serve
    python examples/interruption.py

A question in writing is answered aloud. The player reports how far it is, as every client should that can be
interrupted, and stops after a second. What the model will remember of its answer is what was heard of it.
"""

import argparse
import asyncio

import antiphon
from antiphon.client import AudioOutput, Call, CallConfig, Interrupted, ResponseCompleted, linear16

OUTPUT = linear16(24_000)


async def listen(call: Call, seconds: float) -> None:
    """Play the next answer, and stop after `seconds` of it."""
    buffered = played = 0  # samples
    stop_at = round(seconds * OUTPUT.rate)
    async for event in call.events():
        match event:
            case AudioOutput():
                buffered += len(event.data) // OUTPUT.sample_bytes
                while played < min(buffered, stop_at):  # the player; it reports every 200 ms
                    step = min(round(0.2 * OUTPUT.rate), buffered - played, stop_at - played)
                    await asyncio.sleep(step / OUTPUT.rate)
                    played += step
                    await call.report_playback(played, event.response_id, stopped=played == stop_at)
            case Interrupted():
                print(f"cut after {event.heard_samples / OUTPUT.rate:.2f} s: {event.kept_tokens} tokens are remembered")
            case ResponseCompleted():
                print(f"ended by {event.finish_reason.name.lower()}, {event.usage.output_audio_tokens} speech tokens")
                return


async def main(target: str) -> None:
    config = CallConfig(output_audio=OUTPUT)
    async with antiphon.Client(target) as client, client.call(config) as call:
        await call.push_text("Tell me a long story.")
        await listen(call, 1.0)
        await call.push_text("Wait. Where did it begin?")  # the model knows that it was cut, and where
        await listen(call, 60.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Interrupt an answer.")
    parser.add_argument("--server", default="localhost:50051")
    asyncio.run(main(parser.parse_args().server))
