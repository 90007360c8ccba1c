"""Which connections are served by our repaired classes: those of the one hypercorn that they were checked against."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version

from hypercorn.asyncio.tcp_server import TCPServer

from server.connection import Connection, Speaker
from server.http2 import Http2
from server.http11 import Http11
from server.worker import Connect

log = logging.getLogger("rawbot.server")

CHECKED = "0.18.0"
"""The hypercorn whose defects were reproduced, one by one, in tests/server."""

SPEAKERS: Mapping[str, Callable[[Connection], Speaker]] = {"http/1.1": Http11, "h2": Http2}
"""The protocols by their ALPN names (RFC 7301)."""


def connect_with(installed: str | None = None) -> Connect:
    """Return what serves a connection: our classes, or hypercorn as it is when `installed` was never checked."""
    installed = installed or version("hypercorn")
    if installed == CHECKED:
        return partial(Connection, SPEAKERS)
    log.warning(
        "hypercorn %s instead of %s: served without repairs; what to check again is in the first lines of server/http2.py,"
        " server/http11.py, server/frames.py, server/fields.py, server/exchange.py, server/inbox.py, server/connection.py",
        installed,
        CHECKED,
    )
    return TCPServer
