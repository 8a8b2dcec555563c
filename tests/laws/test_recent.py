"""Laws of the ring of recent items: it holds the end of a plain list of each user's items."""

from __future__ import annotations

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.core.ranking import NO_ITEM
from worker.core.recent import Ring

USERS = 3

items = st.integers(0, 50)
batches = st.lists(st.lists(st.tuples(st.integers(0, USERS - 1), items), max_size=12), max_size=6)
sizes = st.integers(1, 7)


def filled(batches: list[list[tuple[int, int]]], size: int) -> tuple[Ring, list[list[int]]]:
    """A ring after these clicks, and the same clicks as one list per user."""
    ring = Ring(np.full((USERS, size), NO_ITEM, np.int32), np.zeros(USERS, np.int32))
    lists: list[list[int]] = [[] for _ in range(USERS)]
    for batch in batches:
        numbers = []
        for user, item in batch:
            numbers.append(len(lists[user]))
            lists[user].append(item)
        users, codes = np.array([*batch, (0, 0)], np.int32)[:-1].T
        ring.put(users, np.array(numbers, np.intp), codes)
        ring.clicks[:] = [*map(len, lists)]
    return ring, lists


def padded(some: list[int], length: int) -> list[int]:
    """The list with `NO_ITEM` at its end, up to this length."""
    return some + [NO_ITEM] * (length - len(some))


@given(batches, sizes)
def test_a_ring_holds_the_end_of_the_list(batches: list[list[tuple[int, int]]], size: int) -> None:
    """However the clicks came in batches: the last items in both orders, and how many there are."""
    ring, lists = filled(batches, size)
    ends = [every[-size:] for every in lists]

    assert ring.kept.tolist() == [*map(len, ends)]
    assert [ring.oldest_first(user).tolist() for user in range(USERS)] == ends
    assert ring.latest(np.arange(size)).tolist() == [padded(end[::-1], size) for end in ends]
    assert [sorted(ring.codes[user][ring.filled[user]]) for user in range(USERS)] == [*map(sorted, ends)]


@given(batches, sizes, st.data())
def test_a_session_is_the_end_of_the_end(
    batches: list[list[tuple[int, int]]], size: int, data: st.DataObject
) -> None:
    """As many items as its length, the oldest first; and each is found by its number."""
    ring, lists = filled(batches, size)
    lengths = [data.draw(st.integers(0, kept)) for kept in ring.kept.tolist()]
    found = ring.session(np.array(lengths, np.int8))
    sessions = [every[len(every) - length :] for every, length in zip(lists, lengths, strict=True)]

    assert found.tolist() == [padded(session, max(lengths)) for session in sessions]
    numbers = [
        [*range(len(every) - length, len(every))] for every, length in zip(lists, lengths, strict=True)
    ]
    users = np.repeat(np.arange(USERS), lengths)
    assert ring.at(users, np.array([*chain(*numbers)], np.intp)).tolist() == [*chain(*sessions)]


@given(batches, sizes, sizes, st.lists(st.integers(0, USERS - 1)))
def test_a_ring_of_another_size_holds_what_fits(
    batches: list[list[tuple[int, int]]], size: int, other: int, users: list[int]
) -> None:
    """Of any users, picked in any order."""
    ring, lists = filled(batches, size)
    picked = ring.of(np.array(users, np.intp))
    resized = Ring(picked.resized(other), picked.clicks)

    assert resized.size == other
    assert [resized.oldest_first(place).tolist() for place in range(len(users))] == [
        lists[user][-min(size, other) :] for user in users
    ]
