"""How much: calls, dialogues, audio and sizes. Each limit is a small class whose `take` raises a RefusalError.

All arithmetic is in whole numbers: what is let through never depends on how the audio was cut into messages. For one
thread.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Final, Self

from antiphon.engine.clock import Clock
from antiphon.engine.service.refusals import QuotaError, Reason

RETRY_SECONDS: Final = 1.0  # what a client is told to wait for where nobody knows
_NANOSECONDS: Final = 1_000_000_000


class Lease:
    """Something that was taken, until `release`, or the end of its `with`. Releasing twice does nothing."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        """Give it back."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class OpenLimit:
    """At most `limit` open at once for each subject; 0: no limit."""

    def __init__(self, limit: int, reason: Reason, what: str) -> None:
        """`what` is counted, in the plural: "dialogues"."""
        self.limit = limit
        self._reason = reason
        self._what = what
        self._open: dict[str, int] = {}  # by subject; those with none are not in it

    def count(self, subject: str) -> int:
        """How many are open."""
        return self._open.get(subject, 0)

    def take(self, subject: str) -> Lease:
        """One more. Raises QuotaError."""
        count = self.count(subject)
        if self.limit and count >= self.limit:
            raise QuotaError(
                self._reason,
                f"{count} {self._what} are open; the limit is {self.limit}. Try again when one of them has ended.",
                subject,
                self.limit,
                RETRY_SECONDS,
            )
        self._open[subject] = count + 1
        return Lease(lambda: self._give_back(subject))

    def _give_back(self, subject: str) -> None:
        self._open[subject] -= 1
        if not self._open[subject]:
            del self._open[subject]


@dataclass
class LeakyBucket:
    """Holds `capacity` units and leaks `leak` units a second (the generic cell rate algorithm, ITU-T I.371)."""

    capacity: int
    leak: int  # more than 0
    _empty_at: int = field(default=0, init=False)  # when it will have run dry, in units leaked since the clock's start

    def pour(self, amount: int, now: float) -> float:
        """Seconds until `amount` units fit. 0: they did, and are in; infinity: they never will."""
        if amount > self.capacity:
            return math.inf
        leaked = self._leaked(now)
        empty_at = max(self._empty_at, leaked) + amount
        over = empty_at - leaked - self.capacity
        if over > 0:
            return over / self.leak
        self._empty_at = empty_at
        return 0.0

    def room(self, now: float) -> int:
        """How many units would fit."""
        return self.capacity - max(0, self._empty_at - self._leaked(now))

    def _leaked(self, now: float) -> int:
        """Units since the clock's start."""
        return round(now * _NANOSECONDS) * self.leak // _NANOSECONDS


class AudioPerMinute:
    """At most `seconds` of audio a minute for each subject; 0: no limit.

    After a pause a minute's worth may come at once; from there on it comes back evenly.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._clock = clock
        self._buckets: dict[str, LeakyBucket] = {}  # by subject: as many as there are keys

    def take(self, subject: str, samples: int, rate: int) -> None:
        """`samples` more at `rate` Hz. Raises QuotaError, and counts nothing of them."""
        if not self.seconds:
            return
        wait = self._bucket(subject).pour(-(-60 * samples * _NANOSECONDS // rate), self._clock.now())
        if wait:
            raise QuotaError(
                Reason.AUDIO_QUOTA,
                f"this key may send {self.seconds:g} s of audio a minute, over all its calls, and has.",
                subject,
                int(self.seconds),
                None if math.isinf(wait) else wait,
            )

    def room(self, subject: str) -> float:
        """Seconds of audio that would be let through now."""
        if not self.seconds:
            return math.inf
        return self._bucket(subject).room(self._clock.now()) / (60 * _NANOSECONDS)

    def _bucket(self, subject: str) -> LeakyBucket:
        # The units are 1/60 ns of audio, so that a second of the clock leaks a whole number of them.
        minute = int(self.seconds * _NANOSECONDS)
        return self._buckets.setdefault(subject, LeakyBucket(60 * minute, minute))


class SpeedLimit:
    """Audio of one call, at `rate` Hz: at most `speed` times real time, after `burst` seconds that may come at once.

    The burst comes back while less is sent; it is there for a network that holds audio up and then delivers it.
    """

    def __init__(self, rate: int, speed: float, burst: float, clock: Clock) -> None:
        """`speed`: taken as the nearest fraction of hundredths, such as 3/2."""
        ratio = Fraction(speed).limit_denominator(100)
        self._rate = rate
        self._speed, self._burst = speed, burst
        self._units = ratio.denominator  # of one sample: then the leak is a whole number as well
        self._bucket = LeakyBucket(int(burst * rate) * ratio.denominator, ratio.numerator * rate)
        self._clock = clock

    def take(self, samples: int) -> None:
        """`samples` more. Raises QuotaError, and counts nothing of them."""
        wait = self._bucket.pour(samples * self._units, self._clock.now())
        if wait:
            raise QuotaError(
                Reason.AUDIO_TOO_FAST,
                f"audio comes faster than {self._speed:g} times real time after {self._burst:g} s at once, which is "
                "all that SERVER_VAD takes. Send it as it is recorded, or use MANUAL.",
                "call",
                int(self._burst * self._rate),
                None if math.isinf(wait) else wait,
            )


class SizeLimit:
    """One message may have `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def take(self, size: int) -> None:
        """A message of `size` bytes. Raises QuotaError."""
        if size > self.limit:
            raise QuotaError(
                Reason.MESSAGE_TOO_LARGE,
                f"the message has {size} bytes; the limit is {self.limit}. Send it in pieces.",
                "call",
                self.limit,
            )


class Quotas:
    """What the calls of one server share: how many there are, and what each key has open and has sent."""

    def __init__(
        self,
        max_calls: int,
        max_dialogues_per_key: int,
        max_audio_per_minute: float,
        clock: Clock,
        max_clips: int = 0,
    ) -> None:
        """Of each, 0 means no limit; `max_audio_per_minute` is in seconds, for each key."""
        self.calls = OpenLimit(max_calls, Reason.SERVER_FULL, "calls")
        self.clips = OpenLimit(max_clips, Reason.SERVER_FULL, "clips")
        self.dialogues = OpenLimit(max_dialogues_per_key, Reason.DIALOGUE_QUOTA, "dialogues of this key")
        self.audio = AudioPerMinute(max_audio_per_minute, clock)

    def call(self) -> Lease:
        """A call begins, and may say nothing yet. Raises QuotaError."""
        return self.calls.take("server")

    def dialogue(self, key: str | None) -> Lease:
        """A key opens a dialogue. None: the server asks for no key, and all share one quota. Raises QuotaError."""
        return self.dialogues.take(_subject(key))

    def clip(self) -> Lease:
        """A clip is heard or spoken. Raises QuotaError."""
        return self.clips.take("server")

    def take_audio(self, key: str | None, samples: int, rate: int) -> None:
        """A key sends audio. Raises QuotaError."""
        self.audio.take(_subject(key), samples, rate)

    def audio_room(self, key: str | None) -> float:
        """Seconds of audio that a key may send now."""
        return self.audio.room(_subject(key))


class OwnQuotas:
    """The `SharedQuotas` of a server that has its engine to itself."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def dialogue(self, key: str | None) -> Lease:
        """A key opens a dialogue. Raises QuotaError."""
        return self._quotas.dialogue(key)

    async def clip(self) -> Lease:
        """A clip is heard or spoken. Raises QuotaError."""
        return self._quotas.clip()

    async def take_audio(self, key: str | None, samples: int, rate: int) -> None:
        """A key sends audio. Raises QuotaError."""
        self._quotas.take_audio(key, samples, rate)


def _subject(key: str | None) -> str:
    return "everyone" if key is None else f"key:{key}"
