"""Live quality, told with lists that are written down; its law stands in `tests/laws`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.builders import clicked
from worker.core import items
from worker.core.quality import BUCKETS, Quality, Tally
from worker.core.states import States


class Shown:
    """Users of one partition who are shown lists and click."""

    def __init__(self, *, lists: int = 8, exclude_recent: int = 0) -> None:
        self.states = States(state_size=4)
        self.quality = Quality(self.states, top=3, lists=lists)
        popular = ["lamp", "rug", "sofa", "bed"]
        self.quality.introduce(1, popular, exclude_recent=exclude_recent)
        self._offset = 0

    def show(self, user_ids: Sequence[str], *item_ids: str) -> None:
        """Each of these clicks a lamp and is shown this list."""
        self._offset += 1
        rows = clicked(self.states, 0, user_ids, ["lamp"], offset=self._offset)
        codes = np.full(3, -1, np.int32)
        codes[: len(item_ids)] = self.states.item_codes.codes(item_ids)
        self.quality.show(1, rows, np.tile(codes, (len(rows), 1)), cold=0)

    def click(self, user_ids: Sequence[str], item_id: str, *, partition: int = 0) -> Tally:
        """Each of these clicks that item; what is counted so far."""
        rows = self.states.rows(partition, user_ids)
        codes = np.repeat(self.states.item_codes.codes([item_id]), len(rows))
        partitions = np.full(len(rows), partition, np.int32)
        self.quality.judge(rows, self.states.read(rows), partitions, codes)
        return self.quality.open.get(1, Tally())


def test_a_list_is_judged_once() -> None:
    """By the next click; the one after that follows another list, or none."""
    shown = Shown()
    shown.show(["ada"], "rug", "sofa")

    assert shown.click(["ada"], "sofa").reciprocal_ranks == 0.5
    assert shown.click(["ada"], "sofa").clicks == 1


def test_a_list_is_not_held_against_a_later_click() -> None:
    """Where the click after it came without being judged, as in a batch of two."""
    shown = Shown()
    shown.show(["ada"], "rug")
    clicked(shown.states, 0, ["ada"], ["bed"], offset=50)

    assert shown.click(["ada"], "rug").clicks == 0


def test_a_row_that_another_user_got_judges_nobody() -> None:
    """Rows are used again; the list of who had it before is none of the new one's."""
    shown = Shown()
    shown.show(["ada"], "rug")
    shown.states.free(shown.states.rows(0, ["ada"]))
    clicked(shown.states, 1, ["bob"], ["lamp"], offset=1)

    assert shown.click(["bob"], "rug", partition=1).clicks == 0


def test_the_ring_forgets_who_has_been_in_it_for_longest() -> None:
    """And keeps as many as it has places."""
    shown, users = Shown(lists=8), [f"user-{number}" for number in range(11)]
    for user_id in users:
        shown.show([user_id], "rug")
        shown.show([user_id], "sofa")

    assert shown.click(users, "sofa").hits == 8
    assert shown.quality.open[1].lists == 22


def test_more_users_than_places_at_once() -> None:
    """As many as there are places are kept."""
    shown, users = Shown(lists=8), [f"user-{number}" for number in range(20)]
    shown.show(users, "rug")

    assert shown.click(users, "rug").hits == 8


def test_the_popular_list_leaves_out_what_the_other_does() -> None:
    """The lamp was clicked last: the popular list begins with the rug then."""
    shown = Shown(exclude_recent=1)
    shown.show(["ada", "bob", "cyd"], "chair")
    shown.click(["ada"], "rug")
    shown.click(["bob"], "bed")
    tally = shown.click(["cyd"], "lamp")

    assert (tally.clicks, tally.hits, tally.popular_hits) == (3, 0, 2)
    assert tally.popular_reciprocal_ranks == pytest.approx(1 + 1 / 3)


def test_of_the_releases_of_long_ago_nothing_is_known() -> None:
    """The four adopted last are judged; one that comes back counts as adopted anew."""
    shown = Shown()
    shown.show(["ada"], "rug")
    for number in (2, 3, 1, 4, 5):
        shown.quality.introduce(number, [], exclude_recent=0)

    assert sorted(shown.quality.known) == [1, 3, 4, 5]
    assert shown.click(["ada"], "rug").hits == 1

    shown.quality.introduce(6, [], exclude_recent=0)
    shown.quality.introduce(7, [], exclude_recent=0)
    shown.show(["ada"], "rug")
    assert shown.click(["ada"], "rug").clicks == 1


def test_items_in_lists_are_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that only a list names stay given, those that nobody names are given to others."""
    monkeypatch.setattr(items, "COLLECT_FROM", 2)
    shown = Shown()
    shown.states.item_codes._collect_at = 2
    shown.show(["ada"], "rug", "sofa")
    shown.states.item_codes.codes(["gone"])
    for _ in range(40):
        shown.states.collect_items()
    shown.states.item_codes.codes(["new"])

    assert shown.click(["ada"], "sofa").hits == 1


def test_tallies_add_up() -> None:
    """Sums of all fields, and through JSON without a loss."""
    shown = Shown()
    shown.show(["ada", "bob"], "rug", "sofa")
    tally = shown.click(["ada", "bob"], "sofa")
    total = Tally.of(tally.document())
    total.add(tally)

    assert (total.lists, total.clicks, total.hits, total.reciprocal_ranks) == (4, 4, 4, 2.0)
    assert total.hits_by_bucket.tolist() == (2 * tally.hits_by_bucket).tolist()
    assert len(total.hits_by_bucket) == BUCKETS
    assert tally.clicks == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"hits": "3"},
        {"hits": None},
        {"hits": 1.5},
        {"reciprocal_ranks": "1"},
        {"hits_by_bucket": [1, 2]},
        {"hits_by_bucket": ["x"] * BUCKETS},
        {"hits_by_bucket": 3},
    ],
)
def test_what_is_no_tally_is_refused(wrong: dict[str, Any]) -> None:
    """Whoever wrote it."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Tally.of(Tally().document() | wrong)
