"""Every limit of the service, with its unit and default. The command line takes its options from here."""

from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from antiphon.engine.errors import InputError

_MEBIBYTE = 1024 * 1024
_HELP = "help"
_MAY_BE_ZERO = "may_be_zero"
_LARGEST: Final = 2**31 - 1  # the wire and the transport take 32 bits, of lengths of time in milliseconds
Number = TypeVar("Number", int, float)


def _limit(default: Number, help: str, may_be_zero: bool = False) -> Number:
    """A field that the command line has an option for, with this help."""
    value: Number = field(default=default, metadata={_HELP: help, _MAY_BE_ZERO: may_be_zero})
    return value


@dataclass(frozen=True)
class ServiceSettings:
    """Where the service listens and what it allows. Lengths of time are in seconds. Raises InputError."""

    host: str = "127.0.0.1"
    port: int = 50051  # 0: any that is free
    reflection: bool = False  # tell whoever may call what the calls are

    # Sizes
    max_converse_message_bytes: int = _limit(64 * 1024, "bytes of one message of Converse")
    # A minute of LINEAR16 at 48 kHz has 5.5 MiB.
    max_unary_message_bytes: int = _limit(8 * _MEBIBYTE, "bytes of one request of every other call")
    max_history_items: int = _limit(256, "items of history a dialogue may be opened with")
    # A turn's worth, 60 s: where the decoder works exactly as the reference does, its work grows with their square.
    max_speech_tokens: int = _limit(
        750, "speech tokens that one Detokenize takes; in reference mode the work grows with their square"
    )
    max_resume_bytes: int = _limit(4 * _MEBIBYTE, "bytes of events kept for a resume, in one dialogue")

    # Counts
    max_connections: int = _limit(4_096, "connections open at once, in one frontend")
    max_streams_per_connection: int = _limit(100, "calls open at once on one connection")
    max_calls: int = _limit(2_048, "calls open at once in one frontend, health checks apart")
    max_utilisation: float = _limit(
        0.85,
        "part of the engine's time that dialogues may take, as measured, before no more are let in; 0: no limit",
        may_be_zero=True,
    )
    max_clips: int = _limit(8, "Tokenize and Detokenize calls under way at once")
    max_waiting_turns: int = _limit(4, "committed turns of a dialogue behind the answer under way")
    max_dialogues_per_key: int = _limit(64, "dialogues of one key open at once; 0: no limit", may_be_zero=True)
    max_audio_per_minute: float = _limit(
        3_840.0, "seconds of callers' audio a minute, of one key; 0: no limit", may_be_zero=True
    )

    # Speed
    max_vad_input_speed: float = _limit(1.5, "seconds of audio a second that SERVER_VAD takes")
    max_vad_input_burst: float = _limit(5.0, "seconds of audio that SERVER_VAD takes at once")
    max_output_lead: float = _limit(1.0, "seconds that an answer is sent ahead of its playback")

    # Patience
    config_timeout: float = _limit(10.0, "seconds a client has for the first message of a call")
    read_timeout: float = _limit(20.0, "seconds a client may leave unread what it is sent")
    connection_idle_timeout: float = _limit(300.0, "seconds until a connection without calls is closed")
    ping_interval: float = _limit(5.0, "clients may ping this often, in seconds, with or without calls")
    keepalive_interval: float = _limit(20.0, "seconds of silence until a client is asked whether it is there")
    keepalive_timeout: float = _limit(10.0, "seconds it has to say so")
    max_session: float = _limit(7_200.0, "seconds a dialogue may last, over all its calls")
    max_session_notice: float = _limit(60.0, "seconds before that at which its client is told", may_be_zero=True)
    max_resume_window: float = _limit(300.0, "seconds a dialogue may be kept without a call", may_be_zero=True)
    drain_timeout: float = _limit(30.0, "seconds that answers under way have once the server shuts down")

    # The engine process
    engine_patience: float = _limit(1.5, "seconds without a sign of life after which the engine is replaced")
    max_engine_step: float = _limit(30.0, "seconds that one step of the engine may take before it is replaced")
    utilisation_interval: float = _limit(
        60.0, "seconds after which the log tells again how busy the engine was; 0: never", may_be_zero=True
    )

    def __post_init__(self) -> None:
        for limit in limits():
            value, lowest_is_zero = getattr(self, limit.name), limit.metadata[_MAY_BE_ZERO]
            highest = _LARGEST if isinstance(limit.default, int) else _LARGEST // 1000
            # NaN and infinity are out of range too.
            if not ((value >= 0 if lowest_is_zero else value > 0) and value <= highest):
                lowest = "0 or more" if lowest_is_zero else "above 0"
                option = limit.name.replace("_", "-")
                raise InputError(f"{limit.name} (--{option}) is {value}; expected {lowest}, at most {highest}.")
        if not 0 <= self.port <= 65_535:
            raise InputError(f"port (--port) is {self.port}; expected 0 to 65535.")

    @property
    def address(self) -> str:
        """Host and port as gRPC takes them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name: it may resolve to anything
            return False


def limits() -> list[Field[Any]]:
    """The fields that are limits; `metadata["help"]` says what each one is."""
    return [limit for limit in fields(ServiceSettings) if _HELP in limit.metadata]
