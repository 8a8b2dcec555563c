"""Rows of users, and the codes of the items in them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from worker.core.states import States, UserStates


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
