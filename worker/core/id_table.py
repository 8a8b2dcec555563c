"""Ids and their places 0, 1, ... in little memory, at the cost of a slower look-up.

A million ids of eleven bytes take 36 MB. As strings in a dictionary they would take 150 MB. The ids are bytes
in a row; a hash table with linear probing has the place of each.

>>> ids = IdTable()
>>> ids.add("lamp"), ids.add("rug"), ids.add("lamp"), ids.find("sofa"), ids.id(1)
(0, 1, 0, -1, 'rug')
"""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

NOWHERE: Final = -1
"""The place of an id that is not in the table."""

_SMALLEST: Final = 1 << 10
_HASH: Final = 0xFFFFFFFF


class _Texts(NamedTuple):
    """Texts without gaps: the bytes, and the boundaries."""

    text: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def equal(self, here: NDArray[np.intp], other: _Texts, there: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return a mask of the texts `here` that are those of `other` at `there`."""
        sizes = self.starts[here + 1] - self.starts[here]
        equal = sizes == other.starts[there + 1] - other.starts[there]
        if not equal.any():
            return equal
        sizes, here, there = sizes[equal], here[equal], there[equal]
        begins = np.cumsum(sizes) - sizes
        within = np.arange(int(sizes.sum())) - np.repeat(begins, sizes)
        differ = (
            self.text[np.repeat(self.starts[here], sizes) + within]
            != other.text[np.repeat(other.starts[there], sizes) + within]
        )
        equal[equal] = ~np.logical_or.reduceat(differ, begins)
        return equal


class IdTable:
    """Ids in the order in which they were added."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._starts = array("Q", [0])
        """By place: where the id begins in the text; in the end, where the next one will begin."""
        self._hashes = array("I")
        self._table = array("i", [NOWHERE]) * _SMALLEST
        """The places, by the lowest bits of the hash; if that is taken, the next free one after it."""

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, one: str) -> int:
        """Return the place of an id; `NOWHERE` if it was not added."""
        return self._table[self._slot(one.encode(errors="surrogatepass"), hash(one) & _HASH)]

    def find_all(
        self, text: NDArray[np.uint8], starts: NDArray[np.int64], hashes: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Return the place of each of N ids: a tenth of the time of N calls of `find`.

        `text`: the ids in UTF-8, without gaps; `starts` `[N + 1]`: their boundaries; `hashes` `[N]`: those of
        the ids as Python has them. No id may be empty.
        """
        found = np.full(len(hashes), NOWHERE, np.int32)
        asked, mask = (hashes & _HASH).astype(np.uint32), len(self._table) - 1
        slots, left = (asked & np.uint32(mask)).astype(np.intp), np.arange(len(hashes))
        # Views, which must not outlive this call: an array in use elsewhere cannot grow.
        table, known = np.frombuffer(self._table, np.int32), np.frombuffer(self._hashes, np.uint32)
        own = _Texts(
            np.frombuffer(self._text, np.uint8), np.frombuffer(self._starts, np.uint64).astype(np.int64)
        )
        while True:
            places = table[slots[left]]
            taken = places != NOWHERE
            left, places = left[taken], places[taken]
            if not len(left):
                return found
            equal = known[places] == asked[left]
            equal[equal] = _Texts(text, starts).equal(left[equal], own, places[equal])
            found[left[equal]] = places[equal]
            left = left[~equal]
            slots[left] = (slots[left] + 1) & mask

    def add(self, one: str) -> int:
        """Return the place of an id, which is added unless it is there."""
        encoded, hashed = one.encode(errors="surrogatepass"), hash(one) & _HASH
        slot = self._slot(encoded, hashed)
        if self._table[slot] != NOWHERE:
            return self._table[slot]
        place = len(self._hashes)
        self._text += encoded
        self._starts.append(len(self._text))
        self._hashes.append(hashed)
        self._table[slot] = place
        if 2 * len(self._hashes) > len(self._table):
            self._grow()
        return place

    def id(self, place: int) -> str:
        """Return the id at a place."""
        return self._bytes(place).decode(errors="surrogatepass")

    def _bytes(self, place: int) -> bytes:
        return bytes(self._text[self._starts[place] : self._starts[place + 1]])

    def _slot(self, encoded: bytes, hashed: int) -> int:
        """Return where the place of an id is in the table, or would be."""
        table, hashes = self._table, self._hashes
        mask = len(table) - 1
        slot = hashed & mask
        while (place := table[slot]) != NOWHERE and (
            hashes[place] != hashed or self._bytes(place) != encoded
        ):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        mask = 2 * len(self._table) - 1
        table = array("i", [NOWHERE]) * (mask + 1)
        for place, hashed in enumerate(self._hashes):
            slot = hashed & mask
            while table[slot] != NOWHERE:
                slot = (slot + 1) & mask
            table[slot] = place
        self._table = table
