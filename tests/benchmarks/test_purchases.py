"""The benchmark of purchases measures what it says: few events, to see that it runs to its end."""

from __future__ import annotations

import pytest

from tests.benchmarks import purchases
from worker.settings.events import Events


@pytest.mark.parametrize("events", [purchases.EXCLUDING, purchases.TIRING], ids=["purchases", "fatigue"])
def test_the_cost_is_a_ratio(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within wide limits for so few events."""
    monkeypatch.setattr(purchases, "BATCH", 50)
    monkeypatch.setattr(purchases, "USERS", 100)

    assert 0.1 < purchases.cost(events, items=100, rounds=3, warm=1) < 10


def test_users_take_memory() -> None:
    """Those who bought, and those who did not."""
    assert purchases.growth(0.5, 20_000) > 0
