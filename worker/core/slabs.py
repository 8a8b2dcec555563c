"""Columns that grow without being copied: their memory is reserved in slabs of many rows.

>>> column = Column(np.int32, (), slab_rows=2)
>>> column.reserve(3)
>>> column.put(np.array([2, 0]), np.array([7, 5]))
>>> column.take(np.array([0, 1, 2])).tolist(), len(column.slabs)
([5, 0, 7], 2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Column:
    """A column in slabs. A slab is reserved as a whole; its pages become resident when they are written."""

    def __init__(self, dtype: type[np.generic], shape: tuple[int, ...], slab_rows: int) -> None:
        self._dtype, self._shape, self.slab_rows = dtype, shape, slab_rows
        self._slabs: list[NDArray[np.generic]] = []

    @property
    def row_bytes(self) -> int:
        """The memory of a row, in bytes."""
        return np.dtype(self._dtype).itemsize * math.prod(self._shape)

    @property
    def slabs(self) -> list[NDArray[Any]]:
        """The slabs themselves, not copies; they include unused rows."""
        return self._slabs

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows in total."""
        while rows > len(self._slabs) * self.slab_rows:
            self._slabs.append(np.zeros((self.slab_rows, *self._shape), self._dtype))

    def take(self, rows: Rows) -> NDArray[Any]:
        """Return a copy of the values of `rows`."""
        if len(self._slabs) == 1:
            return self._slabs[0][rows]
        values = np.empty((len(rows), *self._shape), self._dtype)
        for slab, at, places in self._divided(rows):
            values[at] = slab[places]
        return values

    def put(self, rows: Rows, values: NDArray[np.generic] | int) -> None:
        """Write a single value to all `rows`, or an array with one value per row.

        The type of the values may be narrower than the column's type.
        """
        narrow = (slice(values.shape[1]),) if not isinstance(values, int) and values.ndim == 2 else ()
        if len(self._slabs) == 1:
            self._slabs[0][rows, *narrow] = values
            return
        for slab, at, places in self._divided(rows):
            slab[places, *narrow] = values if isinstance(values, int) else values[at]

    def put_at(self, rows: Rows, places: NDArray[np.integer[Any]], value: int) -> None:
        """Write `value` to one place of each of `rows`; rows may repeat."""
        for slab, at, within in self._divided(rows):
            slab[within, places[at]] = value

    def _divided(self, rows: Rows) -> Iterator[tuple[NDArray[np.generic], Rows, Rows]]:
        """Yield each slab, the positions of its rows in `rows`, and their positions in the slab."""
        slabs, places = np.divmod(rows, self.slab_rows)
        for slab in np.unique(slabs):
            at = np.flatnonzero(slabs == slab)
            yield self._slabs[slab], at, places[at]


def where(holds: Callable[..., NDArray[np.bool_]], *columns: Column, rows: int) -> Rows:
    """Return those of the first `rows` rows whose values in `columns` satisfy `holds`."""
    slab_rows = columns[0].slab_rows
    found = [
        np.flatnonzero(holds(*(column.slabs[base // slab_rows][: rows - base] for column in columns))) + base
        for base in range(0, rows, slab_rows)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)
