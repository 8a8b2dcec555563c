"""Events that exclude an item, told with releases whose answers are known; laws stand in `tests/laws`."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.builders import successor_release_parts, tiny_release
from tests.reference import OneClick, columns
from worker.core.bought import DAY_MS
from worker.core.event_types import EXCLUDE, STEP
from worker.core.quality import Quality
from worker.core.ranking import NO_ITEM
from worker.core.recommender import Publish, Recommender
from worker.core.release import verify
from worker.core.serving import Serving
from worker.core.states import States

NOW_MS: Final = 20_000 * DAY_MS + 1
VIEW: Final = STEP
BUY: Final = EXCLUDE
BOTH: Final = STEP | EXCLUDE

Event = tuple[str, str, int]


class Shop:
    """Users of one partition who click and buy; item n + 1 is best after item n."""

    def __init__(self, *, publish: Publish = "every", days: int = 30, **rules: Any) -> None:
        release = verify(*successor_release_parts(session_gap_seconds=1800))
        self.states = States(state_size=release.state_size)
        self.states.keep_bought(days)
        self.quality = Quality(self.states, top=2)
        self.recommender = Recommender(
            release, self.states, publish=publish, top=2, quality=self.quality, publish_max_age_ms=0, **rules
        )
        self._offset = 0

    def batch(self, *events: Event, at_ms: int = NOW_MS) -> dict[int, list[str]]:
        """The lists for a batch, by the place of their click."""
        clicks = [
            OneClick(0, self._offset + nth, user_id, item_id, at_ms, at_ms, kind)
            for nth, (user_id, item_id, kind) in enumerate(events)
        ]
        self._offset += len(clicks)
        found = self.recommender.rank(self.recommender.apply(columns(clicks), now_ms=at_ms))
        return {one.click: one.items for one in found}

    def bought(self, user_id: str) -> list[str]:
        """What a user bought, oldest first."""
        assert self.states.bought is not None
        (codes,), _ = self.states.bought.of(self.states.rows(0, [user_id]))
        return self.states.item_codes.ids(codes[codes != NO_ITEM])

    def row(self, user_id: str) -> int:
        """The row of a user."""
        row = self.states.find(0, user_id)
        assert row is not None
        return row


def test_what_a_user_bought_is_in_none_of_their_lists() -> None:
    """Nobody else's lists lack it."""
    shop = Shop()
    shop.batch(("ada", "item-3", BUY))

    found = shop.batch(("ada", "item-2", VIEW), ("bob", "item-2", VIEW))

    assert "item-3" not in found[0]
    assert found[1][0] == "item-3"


def test_a_purchase_is_no_click() -> None:
    """It moves no state, is no recent item, begins no session and gets no list."""
    shop, alone = Shop(), Shop()
    assert shop.batch(("ada", "item-5", BUY), ("ada", "item-1", VIEW), ("ada", "item-6", BUY)).keys() == {1}
    alone.batch(("ada", "item-1", VIEW))
    assert shop.batch(("ada", "item-7", BUY), at_ms=NOW_MS + 3_600_000) == {}

    ours, theirs = (one.states.read(one.states.rows(0, ["ada"])) for one in (shop, alone))
    for name in ("hidden", "recent", "clicks", "session", "warm", "timestamp_ms", "release"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()
    assert ours.offset.tolist() == [3]


def test_a_type_may_be_a_click_and_exclude() -> None:
    """It gets a list, without the item itself."""
    shop = Shop(exclude_recent=0)
    found = shop.batch(("ada", "item-3", BOTH), ("ada", "item-2", VIEW))

    assert found.keys() == {0, 1}
    assert found[0][0] == "item-4"
    assert "item-3" not in found[1]


@pytest.mark.parametrize("publish", ["latest", "every"])
def test_a_list_lacks_what_its_own_batch_bought(publish: Publish) -> None:
    """Even where the purchase came after the click."""
    shop = Shop(publish=publish)

    assert "item-3" not in shop.batch(("ada", "item-2", VIEW), ("ada", "item-3", BUY))[0]


def test_after_the_last_day_an_item_may_be_shown_again() -> None:
    """By the time of the click, not of the clock."""
    shop = Shop(days=2)
    shop.batch(("ada", "item-3", BUY))

    assert "item-3" not in shop.batch(("ada", "item-2", VIEW), at_ms=NOW_MS + 2 * DAY_MS)[0]
    assert shop.batch(("ada", "item-2", VIEW), at_ms=NOW_MS + 3 * DAY_MS)[0][0] == "item-3"


def test_the_fallback_list_lacks_bought_items_too() -> None:
    """A user of whom no click is known gets the next popular items; the popular ones are the last."""
    shop = Shop()
    shop.batch(("ada", "item-11", BUY))

    assert shop.batch(("ada", "unknown", VIEW)) == {0: ["item-10", "item-9"]}


def test_a_user_who_only_bought_is_a_user() -> None:
    """Saved, counted, and new to the network."""
    shop = Shop()
    shop.batch(("ada", "item-3", BUY))

    assert shop.states.user_ids(shop.states.owned(0)) == ["ada"]
    assert shop.states.changed(0).tolist() == [shop.row("ada")]
    assert shop.states.used(0, 9).tolist() == [shop.row("ada")]
    assert shop.recommender.recommend(shop.row("ada")).reason == "cold"
    shop.states.free(shop.states.owned(0))
    assert len(shop.states) == 0


def test_bought_items_outlive_the_expiry_of_the_clicks() -> None:
    """A user who starts afresh still has what they bought, as long as it counts."""
    shop = Shop(user_ttl_ms=DAY_MS)
    shop.batch(("ada", "item-1", VIEW), ("ada", "item-3", BUY))

    assert "item-3" not in shop.batch(("ada", "item-2", VIEW), at_ms=NOW_MS + 3 * DAY_MS)[0]
    assert shop.states.read(shop.states.rows(0, ["ada"])).clicks.tolist() == [1]


def test_the_longest_idle_are_those_who_neither_clicked_nor_bought() -> None:
    """A purchase keeps a user for its whole day."""
    shop = Shop()
    shop.batch(("ada", "item-1", VIEW), ("bob", "item-1", VIEW))
    shop.batch(("eve", "item-1", VIEW), at_ms=NOW_MS + 2)
    shop.batch(("ada", "item-1", BUY), ("fay", "item-1", BUY))

    assert sorted(shop.states.user_ids(shop.states.longest_idle(2))) == ["bob", "eve"]


@pytest.mark.parametrize("before", range(4))
def test_of_who_is_deleted_only_later_purchases_count(before: int) -> None:
    """Wherever the limit falls, also in the midst of a batch; nothing is left of who has none."""
    shop = Shop()
    shop.states.forget(0, "ada", before)
    shop.batch(("ada", "item-1", BUY), ("ada", "item-2", VIEW), ("ada", "item-3", BUY))

    row = shop.states.find(0, "ada")
    assert (row is None) == (before == 3)
    if row is not None:
        assert shop.bought("ada") == (["item-1", "item-3"] if before == 0 else ["item-3"])
        assert shop.states.read_column("clicks", shop.states.rows(0, ["ada"])).tolist() == [int(before < 2)]


def test_a_deleted_user_has_bought_nothing() -> None:
    """Their row goes to others, without their items."""
    shop = Shop()
    shop.batch(("ada", "item-3", BUY))
    assert shop.states.forget(0, "ada", 9)
    shop.states.forgotten(0, "ada")

    assert shop.batch(("bob", "item-2", VIEW))[0][0] == "item-3"


def test_replay_applies_each_purchase_once() -> None:
    """Whether a user's row ends with a click or with a purchase; again, nothing is missing."""
    shop, straight = Shop(), Shop()
    events = [
        ("ada", "item-1", BUY),
        ("bob", "item-1", VIEW),
        ("bob", "item-2", BUY),
        ("ada", "item-3", VIEW),
    ]
    shop.batch(*events[:2])
    straight.batch(*events)
    clicks = [OneClick(0, nth, *one[:2], NOW_MS, NOW_MS, one[2]) for nth, one in enumerate(events)]

    assert [shop.recommender.replay(columns(clicks)) for _ in range(2)] == [2, 0]
    for user_id in ("ada", "bob"):
        assert shop.bought(user_id) == straight.bought(user_id) != []


def test_a_purchase_judges_no_list_and_spoils_none() -> None:
    """The next click judges it, whatever was bought in between, or in its batch."""
    shop = Shop()
    shop.batch(("ada", "item-2", VIEW))
    shop.batch(("ada", "item-9", BUY))
    shop.batch(("ada", "item-8", BUY), ("ada", "item-3", VIEW), ("ada", "item-7", BUY))
    shop.batch(("ada", "item-4", VIEW))

    tally = shop.quality.open[shop.recommender.release.number]
    assert (tally.lists, tally.clicks, tally.hits) == (3, 2, 2)


def test_a_batch_of_purchases_has_no_lists() -> None:
    """Under two releases, too."""
    shop = Shop()
    candidate = Recommender(tiny_release(number=2), shop.states)
    serving = Serving(shop.states, shop.recommender, candidate, 0.5)
    clicks = [OneClick(0, nth, f"user-{nth}", "item-1", NOW_MS, NOW_MS, BUY) for nth in range(20)]

    assert serving.rank(serving.apply(columns(clicks), now_ms=NOW_MS)) == []
    assert len(shop.states) == 20
