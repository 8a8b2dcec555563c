"""Laws of the user rows: whatever happens, each user has what was last written for them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import clicked
from tests.examples import examples
from worker.core.states import States
from worker.core.user_states import UserStates

STATE_SIZE, RECENT_ITEMS = 3, 2

partitions = st.integers(0, 2)
users = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=6, unique=True)
writes = st.tuples(st.just("write"), partitions, users, st.integers(0, 2**32 - 1))
drops = st.tuples(st.just("drop"), partitions)
histories = st.lists(st.one_of(writes, writes, writes, drops), max_size=25)


def drawn(count: int, seed: int) -> UserStates:
    """The states of `count` users, up to the limits of every column."""
    random = np.random.default_rng(seed)

    def integers(kind: type[np.signedinteger[Any]], *shape: int) -> Any:
        limits = np.iinfo(kind)
        values = random.integers(limits.min, limits.max, shape, kind, endpoint=True)
        return np.where(random.random(shape) < 0.2, limits.max, values)

    return UserStates(
        hidden=random.standard_normal((count, STATE_SIZE)).astype(np.float16),
        recent=integers(np.int32, count, RECENT_ITEMS),
        clicks=integers(np.int32, count),
        session=integers(np.int8, count),
        warm=random.random(count) < 0.5,
        timestamp_ms=integers(np.int64, count),
        offset=integers(np.int64, count),
        release=integers(np.int32, count),
    )


def rows_of(states: UserStates) -> list[list[Any]]:
    """The states as one plain list per user."""
    by_column = [getattr(states, field.name).tolist() for field in fields(states)]
    return [list(row) for row in zip(*by_column, strict=True)]


@given(histories, st.sampled_from([1, 2, 4, 5, 1 << 20]))
@examples(1.5)
def test_every_user_has_what_was_last_written(history: list[Any], slab_rows: int) -> None:
    """A dictionary is the definition, however rows are divided into slabs, forgotten and used again."""
    states = States(state_size=STATE_SIZE, recent_items=RECENT_ITEMS, slab_rows=slab_rows)
    written: dict[tuple[int, str], list[Any]] = {}
    for what, partition, *more in history:
        if what == "drop":
            gone = [key for key in written if key[0] == partition]
            assert states.drop(partition) == len(gone)
            for key in gone:
                del written[key]
        else:
            names, seed = more
            values = drawn(len(names), seed)
            states.write(states.rows(partition, names), values)
            written |= {(partition, name): row for name, row in zip(names, rows_of(values), strict=True)}

    assert len(states) == len(written)
    for partition in range(3):
        names = [name for one, name in written if one == partition]
        read = states.read(states.rows(partition, names))
        assert rows_of(read) == [written[partition, name] for name in names]


@given(histories, st.sampled_from([1, 3, 1 << 20]))
@examples(0.5)
def test_no_two_users_share_a_row(history: list[Any], slab_rows: int) -> None:
    """Of any partitions, after any history; and a new one finds zeros in theirs."""
    states = States(state_size=STATE_SIZE, recent_items=RECENT_ITEMS, slab_rows=slab_rows)
    for what, partition, *more in history:
        if what == "drop":
            states.drop(partition)
        else:
            states.write(states.rows(partition, more[0]), drawn(len(more[0]), more[1]))
    before = len(states)
    fresh = states.rows(9, ["new", "newer"])

    rows = [row for partition in (0, 1, 2, 9) for row in states._indexes.get(partition, {}).values()]
    assert len(rows) == len(set(rows)) == before + 2
    assert not np.any(states.read(fresh).hidden)
    assert states.read(fresh).clicks.tolist() == [0, 0]


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 9)), max_size=15), max_size=5),
    st.lists(st.integers(1, 9), max_size=5),
    st.sampled_from([1, 2, 1 << 20]),
)
@examples(0.5)
def test_rows_that_keep_more_items_lose_none(batches: list[Any], sizes: list[int], slab_rows: int) -> None:
    """What a plain list holds of each user, whenever rows grow; they never shrink, and the rest stays."""
    states = States(state_size=STATE_SIZE, recent_items=RECENT_ITEMS, slab_rows=slab_rows)
    kept: dict[str, list[str]] = {}
    for number, batch in enumerate(batches):
        for user, item in batch:
            clicked(states, 0, [user], [f"item-{item}"], offset=number)
            kept[user] = [*kept.get(user, []), f"item-{item}"][-states.recent_items :]
        before = states.read(states.rows(0, [*kept]))
        for size in sizes[number : number + 1]:
            states.keep_recent(size)
            assert states.recent_items >= max(size, RECENT_ITEMS)
        after = states.read(states.rows(0, [*kept]))
        for name in ("hidden", "clicks", "session", "offset", "release"):
            assert np.array_equal(getattr(after, name), getattr(before, name))
        for user, items in kept.items():
            ring = states.read(states.rows(0, [user])).ring
            assert ring.size == states.recent_items
            assert states.item_codes.ids(ring.oldest_first(0)) == items


def test_longer_rows_take_as_much_memory_as_they_say() -> None:
    """Four bytes for each item more; a row that no user has had takes none."""
    states = States(state_size=STATE_SIZE, recent_items=RECENT_ITEMS)
    clicked(states, 0, ["ada", "bob"], offset=1)
    before = states.size_bytes
    states.keep_recent(64)

    assert states.size_bytes - before == 2 * 4 * (64 - RECENT_ITEMS)
