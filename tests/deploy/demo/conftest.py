"""The fixtures of the demo's tests: its life, and the broker that it brings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.demo import broker as brokers
from deploy.demo.broker import Broker
from deploy.demo.life import Life


@pytest.fixture
def life() -> Iterator[Life]:
    """A life of the demo; nothing outlives the test."""
    with Life() as one:
        yield one


@pytest.fixture
def embedded(life: Life, tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """The broker that the demo brings."""
    return brokers.embedded(life, tmp_path_factory.getbasetemp() / "tansu")
