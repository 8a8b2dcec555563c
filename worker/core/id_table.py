"""Ids and their places 0, 1, ... in little memory, at the cost of a slower look-up.

A million ids of eleven bytes take 36 MB. As strings in a dictionary they would take 150 MB. The ids are bytes
in a row; a hash table with linear probing has the place of each.

>>> ids = IdTable()
>>> ids.add("lamp"), ids.add("rug"), ids.add("lamp"), ids.find("sofa"), ids.id(1)
(0, 1, 0, -1, 'rug')
"""

from __future__ import annotations

from array import array
from typing import Final

NOWHERE: Final = -1
"""The place of an id that is not in the table."""

_SMALLEST: Final = 1 << 10
_HASH: Final = 0xFFFFFFFF


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
