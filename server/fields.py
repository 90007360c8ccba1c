"""The header list of an HTTP/2 request, read into a request or refused; it knows no streams.

hypercorn decodes what a client wrote without a look at it, and an exception there ends every stream of the connection.
"""

from __future__ import annotations

from hypercorn.utils import filter_pseudo_headers

from server.exchange import Headers, Request

OVERHEAD = 32
"""Bytes that count for each field beside its name and value (RFC 9113 §6.5.2)."""


def read_request(fields: Headers, limit: int) -> Request | int:
    """Return the request, or the status for one that is larger than `limit` bytes or that ASGI cannot express."""
    pseudo = {name: value for name, value in fields if name[:1] == b":"}
    method, path = pseudo[b":method"], pseudo.get(b":path", b"")
    if method == b"CONNECT" or not method.isascii():
        return 501
    if not path.isascii():
        return 400
    if sum(len(name) + len(value) + OVERHEAD for name, value in fields) > limit:
        return 431
    return Request("2", method.decode("ascii").upper(), path, filter_pseudo_headers(fields))
