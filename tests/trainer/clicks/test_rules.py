from __future__ import annotations

from trainer.clicks.rules import Rules
from worker.core.times import MAX_AHEAD_MS, MAX_TIMESTAMP_MS


def test_a_time_is_plausible_between_the_earliest_and_now() -> None:
    """As text, in any form; with the hour ahead that the worker allows."""
    rules = Rules(now_ms=1_790_000_000_000)

    assert rules.latest_ms == 1_790_000_000_000 + MAX_AHEAD_MS
    assert [rules.is_plausible(one) for one in ("1789999999", "2026-09-01", "1790009999", "5", "lamp")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_without_a_present_no_time_is_too_late() -> None:
    """But for those after the year 9999."""
    assert Rules().latest_ms == MAX_TIMESTAMP_MS
