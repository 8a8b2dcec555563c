"""Live quality: whether, and at which rank, a user's next click was in the user's last recommendations.

A user's last list stays in memory until the user's next click, which judges the list. A list is identified by
the offset of its user's state, so that only the very next click can judge it. A click judges nothing if the
user's previous click got no list, or was in the same batch: then the user saw no list in between. For
comparison, a list of the release's popular items is judged by the same clicks.

Lists of up to 262,144 users are kept (22 MB with 20 items); beyond that, a new list replaces the oldest list.

>>> states = States(state_size=4)
>>> quality = Quality(states, top=2)
>>> quality.introduce(7, popular=["rug"], exclude_recent=0)
>>> ada, items = states.rows(0, ["ada"]), states.item_codes.codes(["lamp", "rug"])
>>> states.write(ada, replace(states.read(ada), clicks=np.array([1], np.int32)))
>>> quality.show(7, ada, items[None], cold=0)
>>> quality.judge(ada, states.read(ada), np.array([0], np.int32), items[1:])
>>> quality.open[7].hits, quality.open[7].reciprocal_ranks, quality.open[7].popular_reciprocal_ranks
(1, 0.5, 1.0)
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace  # noqa: F401  # replace: for the doctest
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import Indexes
from worker.core.slabs import Rows
from worker.core.states import States
from worker.core.user_states import UserStates

LISTS: Final = 1 << 18
"""Maximum number of users whose last lists are kept."""

BUCKETS: Final = 64
"""The number of groups into which users are divided by a hash of their ids, the same in every worker.

A significance test treats the groups as independent observations. Single clicks are not independent, because
a user has several of them.
"""

_RELEASES: Final = 4
"""The number of most recently adopted releases whose lists are judged; lists of older releases are not
judged.
"""


def _by_bucket() -> NDArray[np.int64]:
    return np.zeros(BUCKETS, np.int64)


@dataclass(slots=True)
class Tally:
    """The counts for one release. All are sums, so tallies of several workers and periods can be added."""

    lists: int = 0
    """Lists shown; of several lists for a user in one batch, only the newest is included."""
    cold: int = 0
    """Those of `lists` whose session had no known item."""
    clicks: int = 0
    """Clicks that judged a list."""
    hits: int = 0
    """Clicks that judged a list and whose item was in the list."""
    reciprocal_ranks: float = 0.0
    """The sum of 1 / rank over all hits."""
    popular_hits: int = 0
    """Hits that a list of the release's popular items would have had on the same clicks."""
    popular_reciprocal_ranks: float = 0.0
    clicks_by_bucket: NDArray[np.int64] = field(default_factory=_by_bucket)
    hits_by_bucket: NDArray[np.int64] = field(default_factory=_by_bucket)

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def document(self) -> dict[str, Any]:
        """Return the tally as a JSON document."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in values.items()}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Tally:
        """Parse a document that `Tally.document` returned. Raises ValueError if it is invalid."""
        tally = cls()
        for one in fields(cls):
            kind, value = type(getattr(tally, one.name)), document.get(one.name)
            if kind is np.ndarray and type(value) is list and len(value) == BUCKETS:
                value = np.array(value)
                if value.dtype != np.int64:
                    raise ValueError(f"{one.name} holds a value that is not an integer")
            elif type(value) is not kind and not (kind is float and type(value) is int):
                raise ValueError(f"{one.name} is {value!r}, which is not a valid count")
            setattr(tally, one.name, value)
        return tally


class _Followed(NamedTuple):
    """Lists with the clicks that judge them: user rows, listed items, clicked items, excluded items."""

    rows: Rows
    lists: Indexes
    clicked: Indexes
    excluded: Indexes


class _Fallback(NamedTuple):
    """The popular items of a release, best first, and how many recent items its lists exclude."""

    popular: list[str]
    exclude_recent: int


class Quality:
    """The last lists shown, and the counts of their hits by release number.

    `top`: the length of a list.
    """

    def __init__(self, states: States, *, top: int, lists: int = LISTS) -> None:
        self._states = states
        self._top = top
        # The kernel allocates these pages only when they are first written, so an empty worker takes little
        # memory.
        self._items = np.zeros((lists, top), np.int32)
        self._offset = np.zeros(lists, np.int64)
        self._release = np.zeros(lists, np.int32)
        self._partition = np.full(lists, -1, np.int32)
        """By slot: the partition of the list; negative if the slot has no list to judge."""
        self._row = np.full(lists, -1, np.int64)
        self._next = 0
        self._slot = np.empty(0, np.int32)
        """By user row: the slot of the user's list; negative if the user has no slot."""
        self._fallbacks: dict[int, _Fallback] = {}
        self.open: dict[int, Tally] = {}
        """By release number: the counts that are not committed yet."""
        states.item_codes.roots.append(self._items)

    def introduce(self, number: int, popular: Sequence[str], *, exclude_recent: int) -> None:
        """Add a release: its popular items, best first, and how many recent items its lists exclude."""
        excluded = min(exclude_recent, self._states.recent_items)
        self._fallbacks.pop(number, None)
        self._fallbacks[number] = _Fallback(list(popular[: self._top + excluded]), excluded)
        while len(self._fallbacks) > _RELEASES:
            del self._fallbacks[next(iter(self._fallbacks))]

    @property
    def known(self) -> Collection[int]:
        """The numbers of the releases whose lists are judged."""
        return self._fallbacks

    def show(self, release: int, rows: Rows, lists: Indexes, *, cold: int) -> None:
        """Store the lists shown to the users of `rows` (no duplicates). `lists`: item codes `[B, K]`."""
        slots = self._claimed(rows)
        kept = slots >= 0
        slots, rows = slots[kept], rows[kept]
        self._items[slots] = lists[kept]
        self._offset[slots] = self._states.read_column("offset", rows)
        self._partition[slots] = self._states.partitions(rows)
        self._release[slots] = release
        tally = self.open.setdefault(release, Tally())
        tally.lists += len(lists)
        tally.cold += cold

    def judge(self, rows: Rows, users: UserStates, partitions: NDArray[np.int32], clicked: Indexes) -> None:
        """Judge the lists shown to the users of `rows` by the items that they `clicked` next.

        `users`: the states of these users before the clicks.
        """
        slots = self._slots(rows)
        at = np.flatnonzero((slots >= 0) & (users.clicks > 0))
        slot = slots[at]
        same = (self._offset[slot] == users.offset[at]) & (self._partition[slot] == partitions[at])
        at, slot = at[same], slot[same]
        self._partition[slot] = -1
        for release in np.unique(self._release[slot]).tolist():
            here = self._release[slot] == release
            if fallback := self._fallbacks.get(release):
                of = at[here]
                # As in a real fallback list, the user's most recent items are excluded.
                excluded = users.ring.of(of).latest(np.arange(fallback.exclude_recent))
                self._count(release, _Followed(rows[of], self._items[slot[here]], clicked[of], excluded))

    def passed(self, rows: Rows, before: NDArray[np.int64], after: NDArray[np.int64]) -> None:
        """Keep the lists of users whose offset went from `before` to `after` without a click."""
        slots = self._slots(rows)
        at = np.flatnonzero(slots >= 0)
        at = at[self._offset[slots[at]] == before[at]]
        self._offset[slots[at]] = after[at]

    def drop(self, partition: int) -> None:
        """Drop the lists of a partition, because replayed clicks are not judged."""
        self._partition[self._partition == partition] = -1

    def _count(self, release: int, followed: _Followed) -> None:
        # A list has no duplicates, so a clicked item has at most one rank.
        hits, places = np.nonzero(followed.lists == followed.clicked[:, None])
        popular = self._popular_ranks(release, followed)
        buckets = _buckets(self._states.user_ids(followed.rows))
        tally = self.open.setdefault(release, Tally())
        tally.clicks += len(buckets)
        tally.hits += len(hits)
        tally.reciprocal_ranks += float((1 / (places + 1)).sum())
        tally.popular_hits += len(popular)
        tally.popular_reciprocal_ranks += float((1 / popular).sum())
        tally.clicks_by_bucket += np.bincount(buckets, minlength=BUCKETS)
        tally.hits_by_bucket += np.bincount(buckets[hits], minlength=BUCKETS)

    def _popular_ranks(self, release: int, followed: _Followed) -> NDArray[np.intp]:
        """Return the ranks, from 1, of the clicked items in lists of popular items; misses are left out."""
        popular = self._states.item_codes.codes(self._fallbacks[release].popular)
        among, places = np.nonzero(followed.clicked[:, None] == popular)
        left_out = (followed.excluded[among][:, :, None] == popular).any(axis=1)
        here = np.arange(len(places))
        ranks = places + 1 - np.cumsum(left_out, axis=1)[here, places]
        return ranks[~left_out[here, places] & (ranks <= self._top)]

    def _slots(self, rows: Rows) -> NDArray[np.int32]:
        if self._states.end > len(self._slot):
            more = np.full(max(1024, 2 * self._states.end) - len(self._slot), -1, np.int32)
            self._slot = np.append(self._slot, more)
        return self._slot[rows]

    def _claimed(self, rows: Rows) -> NDArray[np.int32]:
        """Assign a slot to the list of each row; return the slots.

        The result is negative for a row whose slot another row of `rows` has taken.
        """
        slots = self._slots(rows)
        new = rows[slots < 0][: len(self._row)]
        if not len(new):
            return slots
        taken = (self._next + np.arange(len(new))) % len(self._row)
        self._next = (self._next + len(new)) % len(self._row)
        former = self._row[taken]
        self._slot[former[former >= 0]] = -1
        self._row[taken], self._slot[new] = new, taken
        return self._slot[rows]


def _buckets(user_ids: Sequence[str]) -> NDArray[np.int64]:
    # Hot path: once per judged click.
    hashes = map(zlib.crc32, map(str.encode, user_ids))
    return np.fromiter(hashes, np.int64, len(user_ids)) % BUCKETS
