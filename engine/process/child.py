"""What every child process begins with: `python -m antiphon.engine.process.child FD ROLE`.

FD is the child's end of a socket pair; the first message on it is its start order.
"""

import asyncio
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final

from antiphon.engine.process.codec import Codec
from antiphon.engine.process.link import frame, receive

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main(control: socket.socket) -> int:
    """Be what the supervisor wants. Returns the exit code."""
    _end_with_parent()
    for number in (signal.SIGTERM, signal.SIGINT):  # a terminal or service manager tells the whole group
        signal.signal(number, signal.SIG_IGN)  # the supervisor says when it is time, and in which order
    role = sys.argv[2]
    if role == "engine":
        from antiphon.engine.process import engine_process as process
        from antiphon.engine.process.engine_messages import ENGINE_CONTROL as codec
    else:
        from antiphon.engine.process import frontend_process as process  # type: ignore[no-redef]
        from antiphon.engine.process.frontend_messages import FRONTEND_CONTROL as codec
    order = receive(control, codec)
    if order is None:  # the supervisor is gone, or wants nothing any more
        return 0
    from antiphon.engine.service.logs import configure_logging

    configure_logging(process=order.name)
    return process.main(control, order)


def tell(control: socket.socket, codec: Codec, message: object) -> None:
    """Send a message before there is an asyncio loop."""
    control.sendall(b"".join(frame(codec, message)))


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop to run on; None: asyncio's own."""
    try:
        import uvloop
    except ModuleNotFoundError:  # it does not run everywhere
        return None
    return uvloop.new_event_loop


def _end_with_parent() -> None:
    """Linux kills this process when the supervisor dies, even one that stands still and sees no socket end."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    code = main(socket.socket(fileno=int(sys.argv[1])))
    logging.shutdown()
    os._exit(code)  # everything is closed; to take the interpreter down, with all that is loaded, takes seconds
