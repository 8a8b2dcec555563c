"""The benchmark of items measures what it says: few items, to see that it runs to its end."""

from __future__ import annotations

import pytest

from tests.benchmarks import items
from worker.core.tables import Ranking


@pytest.mark.parametrize("ranking", ["exact", "approximate"])
def test_the_cost_is_a_ratio(ranking: Ranking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near one, for so small a catalogue within wide limits."""
    monkeypatch.setattr(items, "ITEMS", 2_000)
    monkeypatch.setattr(items, "BATCH", 50)

    assert 0.1 < items.unavailable_over_none(ranking=ranking, share=0.1, rounds=3) < 10


def test_a_change_takes_time() -> None:
    """Of many items at once, and of one."""
    many, one = items.change_seconds(items.release_of(2_000), 0.5)

    assert many > 0
    assert one > 0


def test_described_items_take_memory_and_time() -> None:
    """All of them are read."""
    size, seconds = items.described(5_000)

    assert size < 5_000
    assert seconds > 0
