"""Who may call: the keys of the service, and the check of a request against them; knows nothing of upstream tokens."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterable

from routes.http.errors import ApiError
from settings import OPEN_ACCESS, Settings, SettingsError

log = logging.getLogger("rawbot")

Headers = Iterable[tuple[bytes, bytes]]


class Keys:
    """The keys that open the service, as digests: equal in length, and never readable in a dump."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @property
    def open(self) -> bool:
        """Whether everybody may call."""
        return not self._digests

    def check(self, headers: Headers) -> None:
        """Raise ApiError 401 unless the request carries one of the keys."""
        if self.open:
            return
        given = _bearer(headers)
        if given is None:
            raise _unauthorized("You didn't provide an API key: send it as `Authorization: Bearer KEY`.")
        digest = _digest(given)
        # Every key is compared, in constant time each, so that the time tells nothing about which came close.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise _unauthorized("Incorrect API key provided.")


def read_keys(settings: Settings, *, paid: bool) -> Keys:
    """Return the keys of API_MASTER_KEY; raises SettingsError rather than open a service that spends money."""
    secret = settings.environment.secret("API_MASTER_KEY")
    value = "" if secret is None else str(secret)
    if value == OPEN_ACCESS:
        log.warning("API_MASTER_KEY=%s: the service is open to everybody", OPEN_ACCESS)
        return Keys(())
    keys = [key.strip() for key in value.split(",") if key.strip()]
    if secret is not None and not keys:
        raise SettingsError("API_MASTER_KEY holds no key")
    if not keys and paid:
        raise SettingsError(
            "API_MASTER_KEY must be set, for a provider's token is: anybody could spend it; "
            f"set one or more keys, or {OPEN_ACCESS} to open the service on purpose"
        )
    return Keys(keys)


def _bearer(headers: Headers) -> bytes | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return key.strip() if scheme.lower() == b"bearer" and key.strip() else None
    return None


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
