"""The judge of what lists must not show: what is wrong it says, and what is right it lets pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from tests.oracle import PlacedClick
from tests.records import Record
from tests.shown import AT_MOST_MS, DAY_MS, KEPT, RECONNECT_MS, Removal, judge_bought, judge_removed
from tests.verdict import Input, Verdict
from worker.core.click import Click
from worker.core.event_types import EXCLUDE, STEP

REMOVED_MS: Final = 50_000


def event(
    offset: int, kind: int, item_id: str = "lamp", *, day: int = 0, user_id: str = "ada"
) -> PlacedClick:
    """An event in partition 0."""
    return PlacedClick(0, offset, Click(user_id, item_id, day * DAY_MS, kind))


def answer(offset: int, items: Sequence[str], produced_at: float = 0) -> Record:
    """The list that answers the click at this offset."""
    value = orjson.dumps({"items": items, "produced_at": produced_at})
    return Record(value, partition=0, headers=(("id", b"clicks/0/%d" % offset),))


def bought(events: Sequence[PlacedClick], answers: Sequence[Record]) -> int:
    """How many lists have an item that was bought."""
    verdict = Verdict()
    judge_bought(verdict, Input("clicks", [*events], [], {}), answers, exclude_days=30)

    assert verdict.good is not bool(verdict.bought_shown)
    assert len(verdict.problems) == verdict.bought_shown
    return verdict.bought_shown


def removed(
    *produced_at: float, until_ms: float = float("inf"), away: Sequence[tuple[float, float]] = ()
) -> Verdict:
    """What is said of lists with a removed item, produced at these times."""
    verdict = Verdict()
    answers = [answer(offset, ["rug", "lamp"], time_ms) for offset, time_ms in enumerate(produced_at)]
    judge_removed(verdict, [Removal("lamp", REMOVED_MS, until_ms)], answers, away=away)
    return verdict


def test_a_list_with_a_bought_item_is_found() -> None:
    """Only of the user who bought it, and only after that, by the order of the partition."""
    events = [event(0, STEP), event(1, EXCLUDE), event(2, STEP), event(3, STEP, user_id="bob")]

    assert bought(events, [answer(0, ["lamp"]), answer(2, ["rug"]), answer(3, ["lamp"])]) == 0
    assert bought(events, [answer(0, ["lamp"]), answer(2, ["rug", "lamp"])]) == 1


def test_an_order_that_is_a_click_is_not_answered_with_its_own_item() -> None:
    """It takes effect before the list is ranked."""
    assert bought([event(0, STEP | EXCLUDE)], [answer(0, ["lamp"])]) == 1


def test_a_bought_item_comes_back_after_some_days() -> None:
    """As many as the worker is set to."""
    events = [event(0, EXCLUDE), event(1, STEP, day=30), event(2, STEP, day=31)]

    assert bought(events, [answer(1, ["lamp"])]) == 1
    assert bought(events, [answer(2, ["lamp"])]) == 0


def test_an_item_that_was_dropped_for_newer_ones_may_be_shown() -> None:
    """Unless it was bought again."""
    others = [event(number, EXCLUDE, f"item-{number}") for number in range(1, KEPT + 1)]
    dropped = [event(0, EXCLUDE), *others, event(20, STEP)]
    again = [event(0, EXCLUDE), *others, event(18, EXCLUDE), event(20, STEP)]

    assert bought(dropped, [answer(20, ["lamp"])]) == 0
    assert bought(dropped, [answer(20, ["item-1"])]) == 1
    assert bought(again, [answer(20, ["lamp"])]) == 1


def test_a_list_with_an_item_that_was_removed_a_second_ago_is_found() -> None:
    """Not one that was produced before, or within the second; the longest time counts."""
    verdict = removed(REMOVED_MS - 1, REMOVED_MS + 400, REMOVED_MS + AT_MOST_MS)

    assert verdict.good
    assert (verdict.removals, verdict.removed_shown, verdict.seconds_shown) == (1, 0, [1.0])

    verdict = removed(REMOVED_MS + 400, REMOVED_MS + AT_MOST_MS + 1, REMOVED_MS + 5_000)

    assert not verdict.good
    assert (verdict.removed_shown, verdict.seconds_shown) == (2, [5.0])
    assert "lamp, which had been unavailable for 5000 ms" in verdict.problems[-1]


def test_the_second_begins_again_when_a_broker_is_back() -> None:
    """And workers have had the time to find it. What lists had meanwhile is counted."""
    back = REMOVED_MS + 4_000
    last = back + RECONNECT_MS + AT_MOST_MS
    away = [(REMOVED_MS - 10, back)]

    assert removed(REMOVED_MS + 2_000, last, away=away).good
    assert removed(REMOVED_MS + 2_000, last, away=away).removed_in_outage == 2
    assert not removed(last + 1, away=away).good


def test_an_item_that_is_available_again_may_be_shown() -> None:
    """From when the record that says so was sent."""
    assert removed(REMOVED_MS + 6_000, until_ms=REMOVED_MS + 6_000).good
    assert not removed(REMOVED_MS + 5_999, until_ms=REMOVED_MS + 6_000).good


def test_a_removal_of_an_item_that_no_list_had_counts_for_nothing() -> None:
    """It does not make the figures look better."""
    verdict = removed(REMOVED_MS - AT_MOST_MS - 1)

    assert (verdict.removals, verdict.seconds_shown) == (0, [])


def test_what_came_too_late_is_told_apart() -> None:
    """All else counts whatever the time."""
    verdict = removed(REMOVED_MS + 5_000)

    assert not verdict.good
    assert verdict.regardless_of_time().good

    verdict.problems.append("another one")
    assert not verdict.regardless_of_time().good
