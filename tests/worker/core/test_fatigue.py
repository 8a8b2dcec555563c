"""Items that were shown too often: when they are left out, and when they come back."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS, successor_release_parts
from tests.examples import examples
from tests.reference import OneClick, columns
from worker.core.fatigue import HOUR_MS, Fatigue
from worker.core.ranking import NO_ITEM
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States

HOUR: Final = 500_000
ROWS: Final = 3
TIMES, HOURS = 2, 10

shows = st.tuples(
    st.dictionaries(
        st.integers(0, ROWS - 1), st.lists(st.integers(0, 8), max_size=6, unique=True), min_size=1
    ),
    st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, 9)), max_size=3),
    st.sampled_from([0, 0, 1, HOURS, HOURS + 1, -2]),
)


@given(st.lists(shows, max_size=12), st.sampled_from([1, 64]))
@examples(0.5)
def test_an_item_is_left_out_as_a_plain_count_says(history: Any, slab_rows: int) -> None:
    """By user and item: how often it was shown, when last; a click starts anew, and so do some hours."""
    fatigue = Fatigue(times=TIMES, hours=HOURS, slab_rows=slab_rows)
    fatigue.slots.reserve(ROWS)
    counts: dict[tuple[int, int], tuple[int, int]] = {}
    hour = HOUR
    for lists, clicks, later in history:
        hour += later
        fatigue.click(*(np.array([one[at] for one in clicks], np.int32).astype(int) for at in (0, 1)))
        for row, item in clicks:
            if (row, item) in counts:
                counts[row, item] = 0, counts[row, item][1]
        shown = np.full((len(lists), 6), NO_ITEM, np.int32)
        for place, items in enumerate(lists.values()):
            shown[place, : len(items)] = items
        fatigue.show(np.array([*lists]), shown, np.full(len(lists), hour))
        for row, items in lists.items():
            for item in items:
                count, last = counts.get((row, item), (0, hour))
                counts[row, item] = (count + 1 if hour <= last + HOURS else 1), max(last, hour)

        found = fatigue.excluded(np.arange(ROWS), np.full(ROWS, hour))
        tired = {key for key, (count, last) in counts.items() if count >= TIMES and hour <= last + HOURS}
        assert {(row, item) for row, of in enumerate(found.tolist()) for item in of if item >= 0} == tired


def test_of_many_items_those_shown_last_are_kept() -> None:
    """64, of lists of which the first 20 items count."""
    fatigue = Fatigue(times=1, hours=HOURS, slab_rows=4)
    fatigue.slots.reserve(1)
    for number in range(5):
        lists = np.arange(number * 30, number * 30 + 30, dtype=np.int32)[None]
        fatigue.show(np.array([0]), lists, np.array([HOUR + number]))

    kept = set(fatigue.excluded(np.array([0]), np.array([HOUR + 4])).ravel().tolist()) - {NO_ITEM}
    newest = {item for number in (2, 3, 4) for item in range(number * 30, number * 30 + 20)}
    assert len(kept) == 64
    assert newest < kept <= newest | set(range(30, 50))


class Shop:
    """A recommender that leaves out what it showed twice; item n + 1 is best after item n."""

    def __init__(self) -> None:
        release = verify(*successor_release_parts(session_gap_seconds=0.0))
        self.states = States(state_size=release.state_size)
        self.states.keep_shown(TIMES, HOURS)
        self._recommender = Recommender(
            release, self.states, top=1, exclude_recent=0, publish="every", publish_max_age_ms=0
        )
        self._offset = 0

    def click(self, *items: str, user: str = "ada", hour: int = HOUR) -> list[str]:
        """The first items of the lists for a batch of clicks."""
        clicks = [
            OneClick(0, self._offset + nth, user, item, hour * HOUR_MS, hour * HOUR_MS)
            for nth, item in enumerate(items)
        ]
        self._offset += len(clicks)
        lists = self._recommender.rank(self._recommender.apply(columns(clicks), now_ms=0))
        return [one.items[0] for one in lists]


def test_lists_lack_what_was_shown_too_often() -> None:
    """For the user who saw it, until some hours later."""
    shop = Shop()
    seen = [shop.click("item-2")[0] for _ in range(3)]

    assert seen[:2] == ["item-3", "item-3"]
    assert seen[2] != "item-3"
    assert shop.click("item-2", user="bob") == ["item-3"]
    assert shop.click("item-2", hour=HOUR + HOURS)[0] != "item-3"
    assert shop.click("item-2", hour=HOUR + HOURS + 1) == ["item-3"]


def test_a_click_brings_an_item_back() -> None:
    """Also one in the same batch."""
    shop = Shop()
    for _ in range(2):
        shop.click("item-2")

    assert shop.click("item-3", "item-2")[1] == "item-3"


def test_lists_of_earlier_clicks_of_a_batch_are_not_seen() -> None:
    """As live quality has it: of several lists in a batch, the newest counts."""
    shop = Shop()

    assert shop.click(*["item-2"] * 4) == ["item-3"] * 4
    assert shop.click("item-2") == ["item-3"]
    assert shop.click("item-2") != ["item-3"]


def test_another_user_in_the_same_row_has_seen_nothing() -> None:
    """What was shown goes with the row, when its user is evicted."""
    shop = Shop()
    for _ in range(2):
        shop.click("item-2")
    shop.states.free(shop.states.owned(0))

    assert shop.click("item-2", user="bob") == ["item-3"]
    assert shop.states.fatigue is not None
    assert shop.states.fatigue.users == 1


def test_a_fallback_list_counts_as_well() -> None:
    """The popular items are the last of the catalogue."""
    shop = Shop()

    assert [shop.click("unknown")[0] for _ in range(3)] == [ITEMS[11], ITEMS[11], ITEMS[10]]
