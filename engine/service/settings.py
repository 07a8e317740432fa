"""Every limit of the service, with its unit and default. The command line takes its defaults from here."""

from dataclasses import dataclass
from ipaddress import ip_address

from antiphon.engine.errors import InputError

_MEBIBYTE = 1024 * 1024
_POSITIVE = (
    "max_converse_message_bytes",
    "max_unary_message_bytes",
    "max_calls",
    "max_streams_per_connection",
    "max_waiting_turns",
    "max_history_items",
    "max_speech_tokens",
    "max_side_jobs",
    "max_resume_bytes",
    "max_vad_input_speed",
    "max_vad_input_burst",
    "max_output_lead",
    "config_timeout",
    "read_timeout",
    "max_session",
    "connection_idle_timeout",
    "ping_interval",
    "drain_timeout",
)
_NOT_NEGATIVE = ("max_resume_window", "max_session_notice", "max_dialogues_per_key", "max_audio_per_minute")


@dataclass(frozen=True)
class ServiceSettings:
    """Where the service listens and what it allows. Lengths of time are in seconds. Raises InputError."""

    # Where
    host: str = "127.0.0.1"
    port: int = 50051  # 0: any that is free
    reflection: bool = False  # tell anyone who asks what the calls are

    # Sizes
    max_converse_message_bytes: int = 64 * 1024
    max_unary_message_bytes: int = 8 * _MEBIBYTE  # a minute of LINEAR16 at 48 kHz has 5.5 MiB
    max_history_items: int = 256
    max_speech_tokens: int = 4_096  # that one Detokenize takes: 5.5 minutes
    max_resume_bytes: int = 4 * _MEBIBYTE  # of events kept for a resume, in one dialogue

    # Counts
    max_calls: int = 2_048  # open at once, of every kind but health
    max_streams_per_connection: int = 100
    max_waiting_turns: int = 4  # committed behind the answer under way
    max_side_jobs: int = 4  # Tokenize and Detokenize calls at work or waiting for the engine
    max_dialogues_per_key: int = 64  # open at once; 0: no limit. A key file may say otherwise
    max_audio_per_minute: float = 3_840.0  # caller's audio of one key; 0: no limit. A key file may say otherwise

    # Speed
    max_vad_input_speed: float = 1.5  # seconds of audio a second, in SERVER_VAD
    max_vad_input_burst: float = 5.0  # audio that may come at once, in SERVER_VAD
    max_output_lead: float = 1.0  # audio sent ahead of its playback

    # Patience
    config_timeout: float = 10.0  # for the first message of a Converse
    read_timeout: float = 20.0  # for a client to take what it is sent
    connection_idle_timeout: float = 300.0  # a connection without calls is closed
    ping_interval: float = 5.0  # clients may ping this often, with or without calls
    max_session: float = 7_200.0  # a dialogue, over all its calls
    max_session_notice: float = 60.0  # GoAway comes so long before that
    max_resume_window: float = 300.0  # a dialogue without a call
    drain_timeout: float = 30.0  # for answers under way, once the server shuts down

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not getattr(self, name) > 0:  # NaN is out of range too
                raise InputError(f"{name} is {getattr(self, name)}; expected more than 0.")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        if not 0 <= self.port <= 65_535:
            raise InputError(f"port is {self.port}; expected 0 to 65535.")

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
