"""Opens the listening sockets and the TLS context that the settings ask for; nothing here accepts a connection."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ssl import SSLContext

from hypercorn.config import Config

from settings import Settings

BACKLOG = 2048
"""Connections that may wait to be accepted; the kernel cuts it down to its own limit."""


class StartError(Exception):
    """The service cannot start; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket, not yet listening, and the TLS that is spoken on it."""

    socket: socket.socket
    tls: SSLContext | None

    @property
    def url(self) -> str:
        """The address as a client would write it, with the real port when PORT was 0."""
        host, port = self.socket.getsockname()[:2]
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def open_listeners(settings: Settings, config: Config, count: int = 1) -> list[Listener]:
    """Bind `count` sockets to one address; each has its own queue of connections, which the kernel fills evenly.

    Raises StartError when the address is not to be had or the certificate is not to be read.
    """
    tls = _tls_context(config)
    host, port = settings.bind
    host = host.strip("[]")
    try:
        if count == 1:
            return [Listener(_bind(host, port), tls)]
        # SO_REUSEPORT shares the port with strangers too; a plain socket finds out first whether it is free.
        _bind(host, port).close()
        sockets = [_bind(host, port, shared=True)]
        port = sockets[0].getsockname()[1]
        sockets += [_bind(host, port, shared=True) for _ in range(count - 1)]
    except OSError as error:
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
    return [Listener(one, tls) for one in sockets]


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it; asyncio sets it only on sockets that were made with IPPROTO_TCP.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # `::` then serves IPv4 as well, whatever the system's default is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _tls_context(config: Config) -> SSLContext | None:
    try:
        return config.create_ssl_context()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"TLS_CERTFILE or TLS_KEYFILE cannot be used: {reason}") from None
