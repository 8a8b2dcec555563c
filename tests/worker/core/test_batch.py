"""The order in which the clicks of a batch are stepped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from worker.core.batch import Clicks, UserOrder

rows_of_clicks = st.lists(st.integers(0, 6) | st.integers(0, 2**40), max_size=40)


def order_of(rows: list[int]) -> UserOrder:
    """The order of clicks on these user rows."""
    return UserOrder(np.array(rows, np.int64))


def test_the_length_of_a_batch_is_its_number_of_clicks() -> None:
    """Down to none."""
    none = np.empty(0, np.int64)
    empty = Clicks(none.astype(np.int32), none, [], [], none, none)

    assert len(empty) == 0


def test_some_clicks_of_a_batch_are_a_batch() -> None:
    """In the order that is asked for."""
    numbers = np.arange(3)
    batch = Clicks(
        numbers.astype(np.int32), numbers + 10, ["ada", "bob", "cyd"], ["a", "b", "c"], numbers, -numbers
    )
    some = batch.taken(np.array([2, 0]))

    assert len(some) == 2
    assert (some.user_ids, some.item_ids) == (["cyd", "ada"], ["c", "a"])
    assert (some.partitions.tolist(), some.offsets.tolist()) == ([2, 0], [12, 10])
    assert (some.timestamps_ms.tolist(), some.record_timestamps_ms.tolist()) == ([2, 0], [-2, 0])


def test_each_click_is_a_whole_record_where_nothing_else_is_said() -> None:
    """It ends its event, which has no number."""
    one = np.arange(1)
    batch = Clicks(one.astype(np.int32), one, ["ada"], ["a"], one, one)

    assert (batch.elements.tolist(), batch.ends_event.tolist()) == ([0], [True])


@given(st.lists(st.integers(1, 6), max_size=12), st.integers(1, 8))
def test_the_clicks_of_a_record_stay_in_one_batch(lengths: list[int], most: int) -> None:
    """Divided, every click is there once and in order; a batch has more than allowed only of one record."""
    offsets = np.repeat(np.arange(len(lengths)), lengths)
    numbers = np.arange(len(offsets))
    ids = [str(number) for number in numbers]
    whole = Clicks(offsets.astype(np.int32) // 3, offsets, ids, ids, numbers, numbers)

    batches = list(whole.divided(most))

    assert [one for batch in batches for one in batch.user_ids] == ids
    assert all(len(batch) <= most or len({*batch.offsets.tolist()}) == 1 for batch in batches)
    held = [{*batch.offsets.tolist()} for batch in batches]
    assert sum(map(len, held)) == len(set().union(*held))


@given(rows_of_clicks)
@example([])
def test_the_clicks_of_a_user_stand_together_in_the_order_of_arrival(rows: list[int]) -> None:
    """Sorted by user row; every click of the batch once."""
    order = order_of(rows)

    by_user = sorted(range(len(rows)), key=lambda place: (rows[place], place))
    assert order.arrival.tolist() == by_user
    assert order.rows.tolist() == sorted(set(rows))


@given(rows_of_clicks)
@example([])
def test_every_click_knows_its_user_and_its_number(rows: list[int]) -> None:
    """`user`, `first`, `nth` of each click, and where each user's `last` stands."""
    order = order_of(rows)
    ordered = sorted(rows)

    assert order.rows[order.user].tolist() == ordered
    assert order.first.tolist() == [ordered.index(row) for row in ordered]
    assert order.nth.tolist() == [place - ordered.index(row) for place, row in enumerate(ordered)]
    assert order.last.tolist() == [len(ordered) - 1 - ordered[::-1].index(row) for row in sorted(set(rows))]


@given(rows_of_clicks)
@example([])
def test_wave_k_holds_the_k_th_click_of_every_user(rows: list[int]) -> None:
    """No user twice in a wave, no click in two, none left out."""
    order = order_of(rows)
    places, sizes = order.waves()

    waves = np.split(places, np.cumsum(sizes)[:-1]) if len(sizes) else []

    assert [sorted(wave.tolist()) for wave in waves] == [
        [place for place, nth in enumerate(order.nth) if nth == number] for number in range(len(waves))
    ]
    assert sorted(places.tolist()) == [*range(len(rows))]


@given(rows_of_clicks)
@example([])
def test_the_users_of_a_wave_are_the_first_of_the_wave_before(rows: list[int]) -> None:
    """So the state before a wave is a slice of the states after the one before."""
    order = order_of(rows)
    places, sizes = order.waves()
    begins = np.cumsum([0, *sizes])
    users = [order.user[places[begin : begin + size]] for begin, size in zip(begins, sizes, strict=False)]

    for one, following in pairwise(users):
        assert one[: len(following)].tolist() == following.tolist()
