"""The supervisor's side of what it counts for all frontends. What a frontend had taken ends with it."""

from typing import Final

from antiphon.engine.process.frontend_messages import (
    Denied,
    GiveBack,
    Granted,
    Take,
    TakeAudio,
    TakeClip,
    TakeDialogue,
)
from antiphon.engine.service.quotas import Lease, Quotas
from antiphon.engine.service.refusals import QuotaError

SPARE_SECONDS: Final = 1.0  # of a key's audio, granted beyond what was asked: one question a second, not one a message
_PLENTY: Final = 0.1  # it is granted only where it is less than this part of the limit: near one, every sample counts


class Desk:
    """Dialogues and clips that are open, and audio that was sent, over all frontends."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._leases: dict[str, dict[int, Lease]] = {}  # by frontend and request

    def take(self, frontend: str, take: Take) -> Granted | Denied | None:
        """What to answer; None: nothing."""
        if isinstance(take, GiveBack):
            if (lease := self._leases.get(frontend, {}).pop(take.request, None)) is not None:
                lease.release()
            return None
        try:
            match take:
                case TakeDialogue():
                    self._keep(frontend, take.request, self._quotas.dialogue(take.key))
                case TakeClip():
                    self._keep(frontend, take.request, self._quotas.clip())
                case TakeAudio():
                    self._quotas.take_audio(take.key, take.samples, take.rate)
                    return Granted(take.request, self._spare(take))
        except QuotaError as error:
            return Denied(take.request, error.reason, str(error), error.subject, error.limit, error.retry_after)
        return Granted(take.request)

    def forget(self, frontend: str) -> None:
        """It is gone, and what it had taken is free."""
        for lease in self._leases.pop(frontend, {}).values():
            lease.release()

    def _keep(self, frontend: str, request: int, lease: Lease) -> None:
        self._leases.setdefault(frontend, {})[request] = lease

    def _spare(self, take: TakeAudio) -> float:
        """Audio that is taken in advance, where there is plenty left."""
        if SPARE_SECONDS > _PLENTY * self._quotas.audio_room(take.key):
            return 0.0
        self._quotas.take_audio(take.key, round(SPARE_SECONDS * take.rate), take.rate)
        return SPARE_SECONDS
