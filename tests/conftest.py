"""What every test gets: the asyncio backend, and an event loop whose clock a test may turn forward."""

from __future__ import annotations

import pytest

from tests.clock import SteerableLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": SteerableLoop}
