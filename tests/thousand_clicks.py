"""1,200 clicks of 80 people on 25 items, the same ones in every shape: the law of shapes uses them."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

_BASE_MS: Final = 1_790_000_000_000
_DAY_MS: Final = 86_400_000


class Row(NamedTuple):
    """One click: ids as the id rule writes them, the time in whole seconds as milliseconds."""

    user_id: str
    item_id: str
    timestamp_ms: int


def rows() -> list[Row]:
    """Return the clicks in the order of their times. Items have leading zeros, people are numbers.

    Times are whole seconds, so that a shape in seconds keeps them; those of one person differ.
    """
    chance, items = random.Random(7), [f"{number:05}" for number in range(1, 26)]
    found = []
    for user in range(80):
        at, time_ms = chance.randrange(25), _BASE_MS + 1_000 * chance.randrange(3 * _DAY_MS // 1_000)
        for _ in range(15):
            found.append(Row(str(1000 + user), items[at], time_ms))
            at = (at + chance.choice([1, 1, 1, 2])) % 25
            time_ms += 1_000 * chance.randrange(5, 120)
    return sorted(found, key=lambda row: row.timestamp_ms)


ROWS: Final = rows()
