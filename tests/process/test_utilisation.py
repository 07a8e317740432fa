"""How busy the engine was, as its process logs it."""

import asyncio
import json
import logging

import pytest
from engine_links import engine_behind_a_socket
from engines import exact_engine

from antiphon.engine.loop_seconds import LoopSeconds
from antiphon.engine.process.utilisation import Utilisation
from antiphon.engine.service.logs import JsonFormatter


def test_an_interval_is_told_in_shares_and_one_in_which_nothing_ran_is_not() -> None:
    utilisation = Utilisation(100.0, LoopSeconds(hear=1.0, steps=2.0))
    idle = LoopSeconds(hear=1.0, steps=2.5)
    assert utilisation.told(110.0, idle, dialogues=1) is None
    busy = LoopSeconds(hear=2.0, think=4.0, solve=8.0, vocode=1.0, clips=0.5, steps=20.0)
    assert utilisation.told(130.0, busy, dialogues=3) == {
        "seconds": 20.0,
        "dialogues": 3,
        "hear_share": 0.05,
        "think_share": 0.2,
        "solve_share": 0.4,
        "vocode_share": 0.05,
        "clips_share": 0.025,
        "other_share": 0.15,
    }
    assert utilisation.told(150.0, busy, dialogues=3) is None


def test_the_engine_process_logs_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.msg == "engine_utilisation"]

    async def test() -> None:
        with exact_engine() as engine:
            async with engine_behind_a_socket(engine, utilisation_interval=0.05), engine.session() as session:
                assert not told(), "the warm-up is nobody's"
                await session.push_text("hello")
                await session.commit()
                while not told():
                    await asyncio.sleep(0.01)

    asyncio.run(test())
    line = json.loads(JsonFormatter("engine").format(told()[0]))
    assert line["dialogues"] == 1 and line["think_share"] > 0 and line["seconds"] >= 0.05
    assert line.keys() >= {f"{part}_share" for part in ("hear", "think", "solve", "vocode", "clips", "other")}
    assert "dropped_fields" not in line
