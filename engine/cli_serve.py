"""`antiphon serve`: the engine on the network, until a signal says stop."""

import argparse
import asyncio
import logging

from antiphon.engine.clock import MonotonicClock
from antiphon.engine.config import EngineConfig
from antiphon.engine.errors import InputError
from antiphon.engine.process.supervisor import ServePlan, Supervisor
from antiphon.engine.service.keys import read_keys
from antiphon.engine.service.logs import configure_logging, log_event
from antiphon.engine.service.settings import ServiceSettings, limits
from antiphon.engine.service.tls import tls_files

_log = logging.getLogger(__name__)


def plan_of(options: argparse.Namespace) -> ServePlan:
    """What the parsed command line asks for. Raises InputError, ServerFileError."""
    if options.frontends < 1:
        raise InputError(f"--frontends is {options.frontends}; expected at least 1.")
    given = {limit.name: getattr(options, limit.name) for limit in limits()}
    return ServePlan(
        options.model,
        _devices(options.device),
        options.dtype,
        EngineConfig(max_dialogues=options.max_dialogues, kv_tokens=options.kv_tokens, streaming=options.streaming),
        ServiceSettings(host=options.host, port=options.port, reflection=options.reflection, **given),
        options.api_key_file,
        tls_files(options.tls_cert, options.tls_key, options.tls_client_ca),
        options.frontends,
    )


def _devices(names: str) -> tuple[str, ...]:
    devices = tuple(name.strip() for name in names.split(","))
    if not all(devices):
        raise InputError(f"--device {names!r} names no device somewhere; expected names with commas between them.")
    return devices


def serve(plan: ServePlan) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0 after a drain, however it ended, and 1 where a process hung in it."""
    configure_logging(process="supervisor")
    if plan.key_file is not None:
        read_keys(plan.key_file)  # the frontends read it: what is wrong with it is told before anything is loaded
    _warn_if_exposed(plan)
    return 0 if asyncio.run(_supervise(plan)) else 1


async def _supervise(plan: ServePlan) -> bool:
    return await Supervisor(plan, MonotonicClock()).run()


def _warn_if_exposed(plan: ServePlan) -> None:
    if plan.service.is_loopback:
        return
    if plan.tls is None:
        log_event(_log, logging.WARNING, "open_to_the_network_without_tls", peer=plan.service.address)
    if plan.key_file is None and (plan.tls is None or plan.tls.client_ca is None):
        log_event(_log, logging.WARNING, "open_to_the_network_without_keys", peer=plan.service.address)
