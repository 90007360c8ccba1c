"""Which connections are served by our repaired classes: those of the one hypercorn that they were checked against."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version

from hypercorn.asyncio.tcp_server import TCPServer

from server.connection import Connection, HTTPProtocol
from server.http2 import HTTP2Protocol
from server.http11 import HTTP11Protocol
from server.worker import Connect

log = logging.getLogger("rawbot.server")

CHECKED = "0.18.0"
"""The hypercorn whose defects were reproduced, one by one, in tests/server."""

PROTOCOLS: Mapping[str, Callable[[Connection], HTTPProtocol]] = {"http/1.1": HTTP11Protocol, "h2": HTTP2Protocol}
"""The protocols by their ALPN names (RFC 7301)."""


def connect_with(installed: str | None = None) -> Connect:
    """Return what serves a connection: our classes, or hypercorn as it is when `installed` was never checked."""
    installed = installed or version("hypercorn")
    if installed == CHECKED:
        return partial(Connection, PROTOCOLS)
    log.warning(
        "hypercorn %s instead of %s: served without repairs; what to check again is in the first lines of server/http2.py,"
        " server/http11.py, server/lenient_h2.py, server/exchange.py, server/body.py, server/connection.py",
        installed,
        CHECKED,
    )
    return TCPServer
