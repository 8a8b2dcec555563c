from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks, table
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.dataset.holdout import HeldOut, cleaned, hold_out
from trainer.dataset.sessions import PastSessions, catalogue_of

HOUR = 60


@pytest.fixture(scope="module")
def held() -> HeldOut:
    """Sessions held out from two hours after the first click on."""
    clicks = cleaned(cyclic_clicks(100), Progress(), NOW)
    from_ms = START_MS + 2 * HOUR * MINUTE_MS
    return hold_out(clicks, gap_seconds=600, from_ms=from_ms, progress=Progress())


def at(minutes: int) -> str:
    """So many minutes after the first click."""
    return moment(START_MS + minutes * MINUTE_MS)


@pytest.mark.parametrize(
    ("told", "careful"),
    [
        ({"last_click": at(HOUR), "test_from": at(2 * HOUR)}, False),
        # A session that began before the cut ends after it, in the training part.
        ({"last_click": at(3 * HOUR), "test_from": at(2 * HOUR)}, False),
        # The blend learned from the validation end.
        ({"last_click": at(HOUR), "test_from": at(3 * HOUR)}, True),
        ({"last_click": at(HOUR), "test_from": None}, False),
        ({"last_click": at(3 * HOUR)}, True),
        ({"last_click": at(3 * HOUR).removesuffix("+00:00")}, True),
        ({"last_click": "yesterday"}, False),
        ({"last_click": 7, "test_from": ["?"]}, False),
        ({}, False),
    ],
)
def test_who_learned_from_such_clicks_is_named(held: HeldOut, told: dict[str, Any], careful: bool) -> None:
    """As far as the manifest tells it; any program may write one."""
    manifest, _ = successor_release_parts(item_names(CYCLE))

    found = held.caution(replace(manifest, training=told), "this one")

    assert found.startswith("Careful: this one was trained on clicks until 2020-09-13T") == careful
    assert bool(found) == careful


@pytest.mark.parametrize("gap_seconds", [0, 600])
def test_context_is_what_was_there_before(gap_seconds: float) -> None:
    """The clicks of an endless session before the cut; with a gap, no click is on both sides."""
    rows = [("a", "x", 0), ("b", "x", 1), ("a", "y", 2), ("a", "z", 1_000_000), ("a", "x", 1_000_001)]
    clicks = table([(user, item, START_MS + at) for user, item, at in rows])

    held = hold_out(
        cleaned(clicks, Progress(), NOW),
        gap_seconds=gap_seconds,
        from_ms=START_MS + 1_000_000,
        progress=Progress(),
    )

    assert held.context.tolist() == ([True, True, False, False] if gap_seconds == 0 else [False, False])
    past = PastSessions.of(held.before, catalogue_of(held.before))
    assert len(past.users) == 3
    assert {*held.users.tolist()} == {past.users[0]}
    assert past.users[0] == past.users[1] != past.users[2]
