"""Rows of users, and the codes of the items in them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from tests.builders import clicked
from worker.core.blocks import decode, encode
from worker.core.states import States
from worker.core.user_states import Saved, UserStates


def columns(users: UserStates) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """The columns by their names."""
    return {field.name: getattr(users, field.name) for field in fields(users)}


def test_a_user_has_one_row_for_good() -> None:
    """However often they come, with whomever; new users get the next rows."""
    states = States(state_size=2)
    first = states.rows(0, ["ada", "bob", "ada"])

    assert first.tolist() == [0, 1, 0]
    assert states.rows(0, ["cyd", "bob", "cyd", "ada"]).tolist() == [2, 1, 2, 0]
    assert states.rows(0, []).tolist() == []
    assert len(states) == states.users(0) == 3


def test_a_user_of_two_partitions_is_two() -> None:
    """Each partition has its own index, and rows are shared by none."""
    states = States(state_size=2)
    rows = [*states.rows(0, ["ada", "bob"]), *states.rows(7, ["ada", "bob"])]

    assert len(set(rows)) == 4
    assert [states.users(0), states.users(7), states.users(3), len(states)] == [2, 2, 0, 4]


def test_a_new_row_is_all_zeros() -> None:
    """Of the types and shapes that a block will hold."""
    states = States(state_size=6, recent_items=3)
    users = columns(states.read(states.rows(0, ["ada", "bob"])))

    assert not any(column.any() for column in users.values())
    assert {name: (column.dtype.name, column.shape) for name, column in users.items()} == {
        "hidden": ("float16", (2, 6)),
        "recent": ("int32", (2, 3)),
        "clicks": ("int32", (2,)),
        "session": ("int8", (2,)),
        "warm": ("bool", (2,)),
        "timestamp_ms": ("int64", (2,)),
        "offset": ("int64", (2,)),
        "release": ("int32", (2,)),
    }


@pytest.mark.parametrize("slab_rows", [1, 2, 1 << 20])
def test_what_was_read_is_a_copy(slab_rows: int) -> None:
    """Whoever changes it changes no row before writing it."""
    states = States(state_size=2, slab_rows=slab_rows)
    rows = states.rows(0, ["ada", "bob", "cyd"])
    users = states.read(rows)
    for column in columns(users).values():
        column[:] = 1

    assert not any(column.any() for column in columns(states.read(rows)).values())


def test_reading_no_rows_is_possible_before_any_is_written() -> None:
    """An empty batch in an empty worker."""
    states = States(state_size=2)
    nobody = states.read(states.rows(0, []))
    states.write(np.empty(0, np.int64), nobody)

    assert nobody.hidden.shape == (0, 2)


def test_a_forgotten_partition_leaves_nothing_but_memory() -> None:
    """Its users are new when they come back, its rows are zeros when others get them, the rest stays."""
    states = States(state_size=2, slab_rows=2)
    forgotten, kept = states.rows(0, ["ada", "bob", "cyd"]), states.rows(1, ["ada"])
    for rows in (forgotten, kept):
        users = states.read(rows)
        for column in columns(users).values():
            column[:] = 1
        states.write(rows, users)

    assert states.drop(0) == 3
    assert [states.users(0), len(states)] == [0, 1]
    again = states.rows(0, ["cyd", "eve", "fay", "gil"])
    assert set(again) >= set(forgotten)
    assert not any(column.any() for column in columns(states.read(again)).values())
    assert all(column.all() for column in columns(states.read(states.rows(1, ["ada"]))).values())


def test_a_partition_that_is_not_there_is_easily_forgotten() -> None:
    """It was revoked before a click of it came."""
    states = States(state_size=2)

    assert states.drop(3) == 0
    assert states.rows(3, ["ada"]).tolist() == [0]


def saved_block(user_ids: list[str], offset: int) -> Saved:
    """A block of users who clicked a lamp at this offset."""
    states = States(state_size=2)
    return decode(encode(states, clicked(states, 0, user_ids, offset=offset)))


def test_a_freed_row_is_nobodys() -> None:
    """It is among none that are owned, changed or idle, and its user is new when they come back."""
    states = States(state_size=2, slab_rows=2)
    rows = clicked(states, 0, ["ada", "bob", "cyd"], offset=5)
    states.free(rows[[2, 0]])

    assert states.user_ids(rows) == ["", "bob", ""]
    assert [states.find(0, "ada"), states.find(0, "bob")] == [None, rows[1]]
    for found in (states.owned(0), states.changed(0), states.longest_idle(9)):
        assert found.tolist() == [rows[1]]
    assert [len(states), states.users(0)] == [1, 1]
    again = states.read(states.rows(0, ["ada", "dan"]))
    assert not any(column.any() for column in columns(again).values())
    assert states.blocks(states.rows(0, ["ada", "dan"])).tolist() == [0, 0]


def test_freeing_no_rows_is_possible() -> None:
    """Before there are any, too."""
    states = States(state_size=2)
    states.free(np.empty(0, np.int64))
    clicked(states, 0, ["ada"], offset=5)
    states.free(np.empty(0, np.int64))

    assert len(states) == 1


def test_the_longest_idle() -> None:
    """By the times of the last clicks; of any partition."""
    states = States(state_size=2, slab_rows=2)
    for number, name in enumerate("dacb"):
        clicked(states, number % 2, [name], offset=number)

    assert [sorted(states.user_ids(states.longest_idle(count))) for count in (0, 1, 3, 4, 9)] == [
        [],
        ["d"],
        ["a", "c", "d"],
        ["a", "b", "c", "d"],
        ["a", "b", "c", "d"],
    ]


def test_the_memory_of_users_counts_rows_and_ids() -> None:
    """A long id and a larger hidden state take more; who is freed or dropped takes nothing."""
    states = States(state_size=2, slab_rows=2)
    empty = states.size_bytes
    clicked(states, 0, ["ada"], offset=1)
    one = states.size_bytes
    clicked(states, 1, ["x" * 256], offset=2)
    two = states.size_bytes
    states.resize(12)
    larger = states.size_bytes
    states.free(states.rows(1, ["x" * 256]))
    freed = states.size_bytes
    states.drop(0)

    assert empty == states.size_bytes == 0
    assert two == 2 * one + 256 - len("ada")
    assert larger - two == 2 * (12 - 2) * np.dtype(np.float16).itemsize
    assert freed == one + 10 * np.dtype(np.float16).itemsize


def test_rows_are_changed_until_they_are_saved() -> None:
    """And again from the next write on; the block is that of the last time."""
    states = States(state_size=2)
    rows = clicked(states, 0, ["ada", "bob"], offset=1)
    clicked(states, 1, ["ada"], offset=1)
    states.saved(rows[:1], 7)

    assert states.changed(0).tolist() == rows[1:].tolist()
    assert states.are_changed(rows).tolist() == [False, True]
    clicked(states, 0, ["ada"], offset=2)
    assert states.changed(0).tolist() == rows.tolist()
    assert states.blocks(rows).tolist() == [7, 0]


def test_users_who_come_in_another_partition_are_counted() -> None:
    """Once each, where they clicked: partitions were added, or the producer changed its hash."""
    states = States(state_size=2)
    states.rows(0, ["ada", "bob"])
    states.rows(1, ["cyd"])
    assert states.take_moved() == 0
    states.rows(2, ["ada", "cyd", "dan", "ada"])
    states.rows(2, ["ada"])
    states.load(3, 1, saved_block(["bob"], 5))

    assert [states.take_moved(), states.take_moved()] == [2, 0]


def test_what_is_forgotten_stays_so() -> None:
    """Clicks below the offset are void wherever they come from; those above count, and other users."""
    states = States(state_size=2)
    clicked(states, 0, ["ada", "bob"], offset=9)
    clicked(states, 1, ["ada"], offset=9)
    assert states.forget(0, "ada", 10)
    assert not states.forget(0, "ada", 10)
    assert states.load(0, 1, saved_block(["ada", "bob"], 9)).tolist() == states.rows(0, ["bob"]).tolist()
    assert [states.users(0), states.users(1), len(states)] == [1, 1, 2]

    assert len(states.load(0, 2, saved_block(["ada"], 10))) == 1
    assert not states.forget(0, "ada", 10)
    assert states.users(0) == 2


def test_a_later_deletion_request_goes_further() -> None:
    """An earlier one that comes late takes nothing back; once it is fulfilled nothing is void."""
    states = States(state_size=2)
    states.forget(0, "ada", 10)
    states.forget(0, "ada", 5)
    assert len(states.load(0, 1, saved_block(["ada"], 9))) == 0
    states.forgotten(0, "ada")
    states.forgotten(0, "bob")

    assert len(states.load(0, 1, saved_block(["ada"], 9))) == 1


def test_who_is_forgotten_leaves_nothing_in_memory() -> None:
    """Not even in the row that nobody has."""
    states = States(state_size=2)
    rows = clicked(states, 0, ["ada"], offset=9)
    states.forget(0, "ada", 10)

    assert not any(column.any() for column in columns(states.read(rows)).values())


def test_with_a_partition_its_deletion_requests_are_dropped() -> None:
    """Its next owner reads them back."""
    states = States(state_size=2)
    states.forget(0, "ada", 10)
    states.drop(0)

    assert len(states.load(0, 1, saved_block(["ada"], 9))) == 1
