"""A dialogue that outgrows the model, over the wire: its client is told how many turns went."""

import asyncio
from dataclasses import replace

from engines import exact_engine
from wire import HANGS, MANUAL, serving, target

import antiphon
from antiphon.client import ResponseCompleted, ResponseStarted, TurnsForgotten
from antiphon.engine.history import HistoryItem

CONTEXT = 768  # ids


def test_clients_are_told_what_was_forgotten() -> None:
    said = [HistoryItem("user", text="all work and no play"), HistoryItem("assistant", text="makes Jack a dull boy")]

    async def run(engine: antiphon.Engine) -> None:
        lengths = [len(engine.lm.chat_prompt([*said * n, "and now?"])) for n in (0, 1)]
        count = (CONTEXT - lengths[0]) // (lengths[1] - lengths[0])
        config = replace(MANUAL, history=said * count)
        async with serving(engine) as server, antiphon.Client(target(server)) as client:
            single = [event async for event in client.respond("and now?", replace(config, input_audio=None))]
            async with client.call(config) as call:
                await call.push_text("and now?")
                await call.finish()
                live = [event async for event in call.events()]
        for events in (single, live):
            (started,) = (event for event in events if isinstance(event, ResponseStarted))
            (forgotten,) = (event for event in events if isinstance(event, TurnsForgotten))
            assert events.index(forgotten) == events.index(started) + 1
            assert forgotten.response_id == started.response_id
            assert forgotten.turns > 0 and forgotten.turns + forgotten.turns_left == count
            (completed,) = (event for event in events if isinstance(event, ResponseCompleted))
            assert completed.error is None

    with exact_engine(antiphon.EngineConfig(kv_tokens=CONTEXT, page_size=16)) as engine:
        asyncio.run(asyncio.wait_for(run(engine), HANGS))
