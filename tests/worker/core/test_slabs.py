from __future__ import annotations

import numpy as np
import pytest

from worker.core.slabs import Column


@pytest.mark.parametrize("slab_rows", [1, 3, 100])
def test_a_column_is_one_array(slab_rows: int) -> None:
    """Whatever is put into rows in any order is taken from them, in one slab or in many."""
    random = np.random.default_rng(0)
    column, array = Column(np.float32, (2,), slab_rows), np.zeros((20, 2), np.float32)
    column.reserve(20)
    for _ in range(10):
        rows = random.permutation(20)[:7]
        values = random.random((7, 2), np.float32)
        column.put(rows, values)
        array[rows] = values

    rows = random.permutation(20)
    assert column.take(rows).tolist() == array[rows].tolist()
    assert np.concatenate(column.slabs)[:20].tolist() == array.tolist()


@pytest.mark.parametrize("slab_rows", [2, 100])
def test_narrow_values_leave_the_rest_of_a_row(slab_rows: int) -> None:
    """A release of smaller states writes to the begin of the rows alone; one number goes everywhere."""
    column = Column(np.int32, (3,), slab_rows)
    column.reserve(4)
    rows = np.array([3, 0])
    column.put(rows, 7)
    column.put(rows, np.array([[1], [2]]))

    assert column.take(np.arange(4)).tolist() == [[2, 7, 7], [0, 0, 0], [0, 0, 0], [1, 7, 7]]


def test_the_memory_of_a_row() -> None:
    """By type and shape."""
    assert Column(np.float16, (5,), slab_rows=3).row_bytes == 10
    assert Column(np.int64, (), slab_rows=3).row_bytes == 8


def test_rows_stay_where_they_are_when_a_column_grows() -> None:
    """Room is made in whole slabs; those that are there are not copied."""
    column = Column(np.int32, (), slab_rows=4)
    column.reserve(4)
    (first,) = column.slabs
    column.put(np.arange(4), np.arange(4))

    column.reserve(9)
    column.reserve(5)

    assert [len(slab) for slab in column.slabs] == [4, 4, 4]
    assert column.slabs[0] is first
    assert column.take(np.array([0, 3, 8])).tolist() == [0, 3, 0]
