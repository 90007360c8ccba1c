"""Makes hypercorn's configuration from our settings; the values that are not settings have their reason here."""

from __future__ import annotations

import logging

from hypercorn.config import Config

from settings import Settings

NEVER = 2**31
"""More requests than one connection can carry: HTTP/2 has 2**30 streams for a client."""


def configuration(settings: Settings) -> Config:
    """Return hypercorn's configuration."""
    config = Config()
    config.certfile = settings.tls_certfile
    config.keyfile = settings.tls_keyfile
    config.keep_alive_timeout = settings.keep_alive_timeout
    # The default of 1000 drops request 1001 of an HTTP/2 connection, with all that run beside it (hypercorn #241).
    config.keep_alive_max_requests = NEVER
    # A line per request is the application's: hypercorn's formatter reads every header and the whole environment.
    config.accesslog = None
    config.errorlog = logging.getLogger("rawbot.server")
    config.include_server_header = False
    config.ssl_handshake_timeout = 15.0
    return config
