"""Columns of some users: slots are claimed, given back and used again, and never mixed up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from worker.core.slabs import Column
from worker.core.sparse_rows import SparseRows

ROWS = 6

rows = st.lists(st.integers(0, ROWS - 1), max_size=ROWS, unique=True)
histories = st.lists(st.tuples(st.sampled_from(["claim", "claim", "release"]), rows), max_size=15)


@given(histories, st.sampled_from([1, 2, 64]))
@examples(0.5)
def test_every_user_has_what_was_written_since_the_last_release(history: Any, slab_rows: int) -> None:
    """A dictionary is the definition; whoever has nothing has what means nothing."""
    table = SparseRows(slab_rows=slab_rows, codes=(Column(np.int32, (2,), slab_rows), -1))
    table.slots.reserve(ROWS)
    expected: dict[int, int] = {}
    for number, (what, some) in enumerate(history):
        if what == "claim":
            slots = table.claimed(np.array(some, np.int64))
            table.columns["codes"].put(slots, np.full((len(some), 2), number, np.int32))
            expected |= dict.fromkeys(some, number)
        else:
            table.release(np.array(some, np.int64))
            expected = {row: value for row, value in expected.items() if row not in some}

        every = np.arange(ROWS)
        assert table.taken("codes", every)[:, 1].tolist() == [expected.get(row, -1) for row in range(ROWS)]
        assert table.users == len(expected)
        assert table.size_bytes == 8 * len(expected)
        assert len({*table.slots_of(every).tolist()} - {0}) == len(expected)
        assert {int(one) for codes in table.named() for one in codes.ravel()} - {-1} == {*expected.values()}


def test_a_negative_row_has_nothing() -> None:
    """It stands for a user who is gone."""
    table = SparseRows(slab_rows=2, codes=(Column(np.int32, (1,), 2), -1))
    table.slots.reserve(2)
    table.columns["codes"].put(table.claimed(np.array([1, 0])), np.array([[5], [6]]))

    assert table.taken("codes", np.array([-1, 1, -1, 0])).ravel().tolist() == [-1, 5, -1, 6]


@pytest.mark.parametrize("slab_rows", [1, 2, 64])
def test_a_place_of_a_row_is_written_alone(slab_rows: int) -> None:
    """In any slab, and of one row several times."""
    column = Column(np.uint8, (3,), slab_rows)
    column.reserve(4)
    column.put_at(np.array([3, 0, 3]), np.array([0, 1, 2]), 9)

    assert column.take(np.arange(4)).tolist() == [[0, 9, 0], [0, 0, 0], [0, 0, 0], [9, 0, 9]]
