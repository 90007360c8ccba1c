"""What the handlers share in one process, made once by the lifespan; frozen, except for what the gate counts."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from gate import Gate
from routes.http.auth import Keys
from settings import Settings
from upstreams.calling.breaker import State
from upstreams.roster import Roster


@dataclass(frozen=True, slots=True)
class Service:
    settings: Settings
    roster: Roster
    keys: Keys
    gate: Gate
    created: int
    """Unix time at which the process began to serve: what stands as `created` on the models."""

    def readiness(self) -> tuple[bool, str]:
        """Tell whether requests should be sent here, and in a word why or why not; a full gate is a matter of moments."""
        if self.gate.draining:
            return False, "draining"
        if not self.roster.upstreams:
            return False, "no upstream is configured"
        if all(upstream.state is State.OPEN for upstream in self.roster.upstreams):
            return False, "every upstream is failing"
        return True, "ready"


def service_of(scope: Scope) -> Service:
    """Return the service that the lifespan has put into each request's state."""
    service = scope["state"]["service"]
    assert isinstance(service, Service)
    return service
