"""What a session tells its caller, one dataclass per event: the same events as the wire's."""

from antiphon.engine.events import *  # noqa: F403
