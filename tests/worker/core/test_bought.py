"""Bought items: who bought what, for how long lists leave it out, and what it takes."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.core.bought import BOUGHT_ITEMS, DAY_MS, Bought, Items
from worker.core.ranking import NO_ITEM

DAY: Final = 20_000


def rows(*numbers: int) -> NDArray[np.int64]:
    """Rows as an array."""
    return np.array(numbers, np.int64)


def kept(items: int = BOUGHT_ITEMS, *, days: int = 30) -> Bought:
    """An empty table for five users."""
    bought = Bought(days=days, slab_rows=2, items=items)
    bought.slots.reserve(5)
    return bought


def buy(bought: Bought, *purchases: tuple[int, int, int]) -> None:
    """Add purchases at once: row, item and day."""
    row, codes, days = (np.array(column) for column in zip(*purchases, strict=True))
    bought.add(row, codes.astype(np.int32), days)


def items_of(bought: Bought, row: int) -> list[tuple[int, int]]:
    """The items of a user, oldest first, and their days."""
    (codes,), (days,) = bought.of(rows(row))
    return [(code, day) for code, day in zip(codes.tolist(), days.tolist(), strict=True) if code != NO_ITEM]


def test_the_oldest_item_makes_room() -> None:
    """It is counted as dropped if it would still be left out, and only then."""
    bought = kept(2, days=10)
    buy(bought, (0, 1, DAY), (0, 2, DAY + 1), (0, 3, DAY + 11), (0, 4, DAY + 11))

    assert items_of(bought, 0) == [(3, DAY + 11), (4, DAY + 11)]
    assert bought.take_dropped() == 1
    assert bought.take_dropped() == 0


def test_an_item_that_is_bought_again_is_the_newest_and_counts_once() -> None:
    """With the later of its days: an event may be late."""
    bought = kept(3)
    buy(bought, (1, 1, DAY), (1, 2, DAY), (1, 3, DAY), (1, 1, DAY + 5), (1, 2, DAY - 5))

    assert items_of(bought, 1) == [(3, DAY), (1, DAY + 5), (2, DAY)]
    assert bought.take_dropped() == 0


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_purchases_are_those_of_one_by_one_however_they_are_divided(at_once: int) -> None:
    """Users in any order, and several purchases of each."""
    random = np.random.default_rng(1)
    purchases = [tuple(map(int, random.integers([0, 0, DAY], [5, 6, DAY + 9]))) for _ in range(60)]
    one_by_one, bought = kept(3), kept(3)
    for one in purchases:
        buy(one_by_one, one)  # type: ignore[arg-type]
    for begin in range(0, len(purchases), at_once):
        buy(bought, *purchases[begin : begin + at_once])  # type: ignore[arg-type]

    assert [items_of(bought, row) for row in range(5)] == [items_of(one_by_one, row) for row in range(5)]


def test_lists_leave_an_item_out_through_the_last_day() -> None:
    """Each at the time of its own click; who bought nothing has nothing left out."""
    bought = kept(days=2)
    buy(bought, (0, 1, DAY), (0, 2, DAY + 1), (3, 9, DAY))
    users = rows(0, 0, 0, 3, 4, -1)

    found = bought.excluded(users, np.array([DAY + 2, DAY + 3, DAY + 4, DAY + 2, DAY, DAY]))

    assert [sorted(set(row) - {NO_ITEM}) for row in found.tolist()] == [[1, 2], [2], [], [9], [], []]
    assert found.shape[1] == 2
    assert bought.excluded(rows(4, -1), np.array([DAY, DAY])).shape == (2, 0)


def test_days_that_no_calendar_has_are_the_first_or_the_last() -> None:
    """A time before 1970, or after 2149."""
    bought = kept()
    buy(bought, (0, 1, -5), (0, 2, 10**6))

    assert items_of(bought, 0) == [(1, 0), (2, 2**16 - 1)]


def test_only_buyers_take_memory_and_give_it_back() -> None:
    """96 bytes each; a ring that is used again is empty."""
    bought = kept()
    buy(bought, (0, 1, DAY), (2, 1, DAY), (4, 1, DAY))
    assert (bought.users, bought.size_bytes) == (3, 3 * 96)

    bought.release(rows(0, 1, 2))
    buy(bought, (3, 7, DAY))

    assert bought.users == 2
    assert [items_of(bought, row) for row in range(5)] == [[], [], [], [(7, DAY)], [(1, DAY)]]


def test_items_that_are_put_replace_all_that_was() -> None:
    """Of more than fit, the newest; of fewer, all; of none, nothing."""
    bought = kept(2)
    buy(bought, (0, 5, DAY), (1, 5, DAY), (2, 5, DAY))
    codes = np.array([[1, 2, 3], [NO_ITEM, NO_ITEM, 4], [NO_ITEM] * 3], np.int32)

    bought.put(rows(0, 1, 2), Items(codes, np.where(codes == NO_ITEM, 0, DAY).astype(np.uint16)))

    assert [items_of(bought, row) for row in range(3)] == [[(2, DAY), (3, DAY)], [(4, DAY)], []]
    assert bought.users == 2
    bought.put(rows(0), None)
    assert items_of(bought, 0) == []


def test_the_last_purchase_keeps_a_user_active_to_the_end_of_its_day() -> None:
    """Whichever came last; 0 for who bought nothing."""
    bought = kept()
    buy(bought, (0, 1, DAY + 3), (0, 2, DAY))

    assert bought.last_ms(rows(0, 1)).tolist() == [(DAY + 4) * DAY_MS, 0]


def test_a_collection_finds_all_codes_that_users_have() -> None:
    """In every slab; released ones are gone."""
    bought = kept(2)
    buy(bought, (0, 11, DAY), (1, 12, DAY), (2, 13, DAY), (3, 14, DAY))
    bought.release(rows(1))

    assert {int(code) for part in bought.named() for code in part.ravel()} == {NO_ITEM, 11, 13, 14}
