"""Calls to a server: the client, what it asks for and what it is told."""

from antiphon.engine.service.client import *  # noqa: F403
from antiphon.engine.service.client_events import *  # noqa: F403
