"""The engines of a server, as a frontend has them: sessions and clips as `antiphon.Engine` gives them.

Each device has an engine process of its own. A dialogue goes to one of them (`antiphon.scheduler.placement`) and stays
there; the others know nothing of it. When one is lost, its dialogues are, and new ones go to the others.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from antiphon.engine.clips import Clip
from antiphon.engine.config import EngineConfig
from antiphon.engine.entrance import Entrance
from antiphon.engine.errors import AntiphonError, EngineFullError, SessionClosedError
from antiphon.engine.messages import ClipCommand, Command, OpenDialogue
from antiphon.engine.process.engine_messages import ModelNames
from antiphon.engine.process.remote_engine import LOST, RemoteEngine
from antiphon.engine.session import Session
from antiphon.engine.think.language_model import LanguageModel
from antiphon.engine.think.model import GLM
from antiphon.engine.think.vocab import Vocabulary
from antiphon.engine.weights.fill import unfilled
from antiphon.engine.weights.folders import LANGUAGE_MODEL_FOLDER
from antiphon.engine.weights.read_configs import read_language_model_config
from antiphon.scheduler.admission import Admission, Occupancy
from antiphon.scheduler.placement import ranked


class EngineGroup(Entrance):
    """One model in as many processes as `addresses` has. Used on one asyncio loop; `run` is its life."""

    comes_back: Final = True  # the supervisor starts another

    def __init__(
        self,
        frontend: str,
        addresses: Sequence[Path],
        model: Path,
        names: ModelNames,
        config: EngineConfig,
        patience: float,
        admission: Admission,
        first: int = 0,
        awaits_all: bool = False,
    ) -> None:
        """`addresses`: of the engines' Unix sockets; `config`: of each; `patience`: seconds that one may be silent;
        `admission`: as the server's door has it; `first`: a number of the frontend's own, so that frontends do not all
        prefer the same of equal engines; `awaits_all`: `warm_up` waits until every engine has been there.

        Raises CheckpointError and TextFilesMissingError for a model folder whose text files cannot be used.
        """
        super().__init__(_words_of(model), config)
        self.engines = [RemoteEngine(frontend, address, patience, self._changed) for address in addresses]
        self._names = names
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._down.set()
        self._places: dict[str, RemoteEngine] = {}  # of open dialogues and clips
        self._admission = admission
        self._awaited = set(self.engines) if awaits_all else set()
        self._first = first % len(self.engines)

    @property
    def codec_id(self) -> str:
        """What the speech tokenizer's codes are called."""
        return self._names.codec_id

    @property
    def vocabulary_id(self) -> str:
        """What the language model's ids are called."""
        return self._names.vocabulary_id

    @property
    def occupancies(self) -> list[Occupancy | None]:
        """How full each engine is; None: it takes nobody now."""
        heard = [engine for engine in self.engines if engine.is_up and not engine.is_late]
        taken = heard or [engine for engine in self.engines if engine.is_up]
        return [engine.occupancy if engine in taken else None for engine in self.engines]

    async def run(self) -> None:
        """Keep connected with all of them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for engine in self.engines:
                tasks.create_task(engine.run())

    async def warm_up(self) -> None:
        """Return once an engine is connected, at the first time perhaps all: it has warmed up before it listened."""
        await self._up.wait()

    async def wait_until_lost(self) -> None:
        """Return once none is."""
        await self._down.wait()

    def disconnect(self) -> None:
        """End the connections, and with them all sessions and clips."""
        for engine in self.engines:
            engine.disconnect()

    # For the sessions and clips

    async def open(self, session: Session, command: OpenDialogue) -> None:
        """A session is being entered. Raises EngineFullError as the engine does, SessionClosedError without one."""
        refusal: AntiphonError = SessionClosedError(LOST)
        for engine in self._ranked():
            self._places[command.dialogue] = engine
            try:
                await engine.open(session, command)
                return
            except (EngineFullError, SessionClosedError) as error:  # or lost before it answered: the next one may
                refusal = error
            except BaseException:
                self._places.pop(command.dialogue, None)
                raise
        self._places.pop(command.dialogue, None)
        raise refusal

    def open_clip(self, clip: Clip) -> None:
        """A clip is being entered. Raises SessionClosedError without an engine."""
        engine = next(iter(self._ranked()), None)
        if engine is None:
            raise SessionClosedError(LOST)
        engine.open_clip(clip)
        self._places[clip.name] = engine

    def submit(self, command: Command) -> None:
        """Send a command to where its dialogue or clip is; without an engine it is dropped, and whoever it is about has
        been told."""
        name = command.clip if isinstance(command, ClipCommand) else command.dialogue
        if (engine := self._places.get(name)) is not None:
            engine.submit(command)

    def forget(self, session_id: str) -> None:
        """A session was closed: it receives nothing more."""
        if (engine := self._places.pop(session_id, None)) is not None:
            engine.forget(session_id)

    def forget_clip(self, name: str) -> None:
        """A clip was left: it receives nothing more."""
        if (engine := self._places.pop(name, None)) is not None:
            engine.forget_clip(name)

    def _ranked(self) -> list[RemoteEngine]:
        """Those that take a dialogue now, the best place first."""
        told = zip(self.engines, self.occupancies, strict=True)
        known = [
            (engine, replace(occupancy, dialogues=occupancy.dialogues + engine.n_opening))
            for engine, occupancy in told
            if occupancy is not None
        ]
        order = ranked([occupancy for _, occupancy in known], self._admission, self._first)
        return [known[place][0] for place in order]

    def _changed(self) -> None:
        """An engine has come up, or was lost, and with it what it held."""
        self._places = {name: engine for name, engine in self._places.items() if engine.is_up}
        self._awaited = {engine for engine in self._awaited if not engine.is_up}
        if any(engine.is_up for engine in self.engines):
            self._down.clear()
            if not self._awaited:
                self._up.set()
        else:
            self._up.clear()
            self._down.set()


def _words_of(model: Path) -> LanguageModel:
    """The language model's sizes, vocabulary and prompts: all of it but the weights."""
    folder = model / LANGUAGE_MODEL_FOLDER
    with unfilled():
        network = GLM(read_language_model_config(folder))
    return LanguageModel(network, Vocabulary.read(folder))
