"""Every error this package raises on purpose."""

from antiphon.engine.errors import *  # noqa: F403
