from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.builders import item_names, successor_release_parts
from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks, table
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.dataset.holdout import HeldOut, cleaned, hold_out, split_of
from trainer.dataset.sessions import TEST, PastSessions, catalogue_of

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


def test_nobody_learned_from_clicks_that_its_training_held_out_in_the_same_way() -> None:
    """The last of each session, or those of files: times say nothing about these."""
    manifest, _ = successor_release_parts(item_names(CYCLE))
    clicks = cleaned(cyclic_clicks(100), Progress(), NOW)
    last = hold_out(clicks, gap_seconds=600, from_ms=None, leave_last=2, progress=Progress())
    marked = clicks.with_columns((pl.col("timestamp_ms") < START_MS + HOUR * MINUTE_MS).alias(TEST))
    files = hold_out(marked, gap_seconds=600, from_ms=None, progress=Progress())

    def careful(held: HeldOut, **told: Any) -> bool:
        return bool(held.caution(replace(manifest, training={"last_click": at(3 * HOUR), **told})))

    assert [careful(last, leave_last=count) for count in (1, 2, 3, "2")] == [True, False, False, True]
    assert [careful(files, test_files=True), careful(files), careful(last, test_files=True)] == [
        False,
        True,
        True,
    ]


def test_the_split_of_a_training_is_in_its_manifest() -> None:
    """As far as the manifest tells it; any program may write one."""
    manifest, _ = successor_release_parts(item_names(CYCLE))

    def split(**told: Any) -> tuple[int | None, int]:
        found = split_of(replace(manifest, training=told))
        return found.from_ms, found.leave_last

    assert split(test_from=at(0)) == (START_MS, 0)
    assert split(test_from=None, leave_last=2) == (None, 2)
    settings = {"evaluation": {"min_context": 3}}
    assert split_of(replace(manifest, training={"settings": settings})).min_context == 3
    assert split(leave_last="2") == split(test_from=7) == split() == (None, 0)


def test_clicks_that_cannot_be_predicted_count_as_test_clicks() -> None:
    """The first of each session, and those of sessions with one click."""
    rows = [("a", "x", 0), ("a", "y", 1), ("b", "x", 2), ("c", "x", 3), ("c", "y", 4), ("c", "z", 5)]
    clicks = cleaned(table([(user, item, START_MS + time) for user, item, time in rows]), Progress(), NOW)

    held, fewer = (
        hold_out(clicks, gap_seconds=600, from_ms=None, min_context=context, progress=Progress())
        for context in (1, 2)
    )

    catalogue = catalogue_of(held.clicks)
    assert (held.test_clicks, held.sessions(catalogue).predictions) == (6, 3)
    assert (fewer.test_clicks, fewer.sessions(catalogue).predictions) == (6, 1)


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
