"""The walk of a batch: absorb its clicks into the user states, then rank what is to be published.

The clicks of a batch are stepped in *waves*: the first click of every user together, then every
second click, and so on. So a batch is a few matrix products, and leaves what stepping one click
after the other would leave.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.batch import Clicks, Places, UserOrder
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release
from worker.core.states import ItemIndexes, Rows, States, UserStates

Publish = Literal["latest", "every"]
Halves = NDArray[np.float16]
Flags = NDArray[np.bool_]

MODEL: Final = "model"
"""The reason of a list that the network ranked."""
COLD: Final = "cold"
"""The reason of a list for a session in which no item is known: the release's popular items."""

_ABOVE_ALL_TIMES_MS: Final = 1 << 48

_NO_SCORES: Final = np.empty(0, np.float32)


class Absorbed(NamedTuple):
    """What ranking needs of the `A` clicks that are to be answered, in the order of arrival."""

    clicks: Places
    """`[A]`: their places in the batch."""
    hidden: Halves
    """`[A, S]`: the state after each."""
    warm: Flags
    """`[A]`: whether a known item is in it."""
    excluded: Indexes
    """`[A, X]`: the items that must not be recommended back."""


class Recommendations(NamedTuple):
    """The list for the click at place `click` of the batch, best item first.

    `scores` stand beside `items`; where `reason` is `COLD` there are none.
    """

    click: int
    items: list[str]
    scores: NDArray[np.float32]
    reason: str


class Recommender:
    """Absorbs and ranks under one release.

    `publish`: a list for the `latest` click of each user in a batch, or for `every` click; a click
    whose record is older than `publish_max_age_ms` (0: no limit) gets none. `exclude_recent`: how
    many of a user's last items are not recommended back. `top`: how many items a list has.
    """

    def __init__(
        self,
        release: Release,
        states: States,
        *,
        publish: Publish = "latest",
        publish_max_age_ms: int = 60_000,
        exclude_recent: int = 1,
        top: int = 20,
    ) -> None:
        self.release = release
        self._states = states
        self._indexes = ItemIndexes(release.catalogue, states.item_codes)
        self._publish = publish
        self._max_age_ms = publish_max_age_ms
        self._lags = np.arange(min(exclude_recent, states.recent_items))
        self._top = top

    def absorb(self, clicks: Clicks, *, now_ms: int) -> Absorbed:
        """Move the state of every user in `clicks`, and say what is to be ranked."""
        order = UserOrder(self._rows(clicks))
        codes = self._states.item_codes.codes(clicks.item_ids)[order.arrival]
        indexes = self._indexes(codes)
        users = self._states.read(order.rows)
        answered = self._answered(order, clicks.record_timestamps_ms, now_ms)
        excluded = self._indexes(_recent(order, users, codes, answered, self._lags))
        starts = _starts(order, users, clicks.timestamps_ms[order.arrival], self.release.session_gap_ms)
        hidden = self._step(order, users.hidden, indexes, starts)
        session, warm = _sessions(order, users, starts, indexes != NO_ITEM)

        last = order.last
        users.hidden = hidden[last]
        users.session = np.minimum(session[last], self._states.recent_items)
        users.warm = warm[last]
        users.offset = clicks.offsets[order.arrival[last]]
        users.release[:] = self.release.number
        _remember(order, users, codes)
        self._states.write(order.rows, users)
        return Absorbed(order.arrival[answered], hidden[answered], warm[answered], excluded)

    def rank(self, absorbed: Absorbed) -> list[Recommendations]:
        """The lists for `absorbed`, in its order."""
        warm = absorbed.warm
        found = self.release.rank(
            absorbed.hidden[warm].astype(np.float32), self._top, absorbed.excluded[warm]
        )
        ranked = zip(_id_lists(self.release, found.indexes), found.scores, strict=True)
        lists = []
        for place, click in enumerate(absorbed.clicks.tolist()):
            if warm[place]:
                items, scores = next(ranked)
                lists.append(Recommendations(click, items, scores[: len(items)], MODEL))
            else:
                lists.append(
                    Recommendations(click, self._popular(absorbed.excluded[place]), _NO_SCORES, COLD)
                )
        return lists

    def _rows(self, clicks: Clicks) -> Rows:
        partitions = np.unique(clicks.partitions).tolist()
        if len(partitions) == 1:
            return self._states.rows(partitions[0], clicks.user_ids)
        rows = np.empty(len(clicks), np.int64)
        for partition in partitions:
            places = np.flatnonzero(clicks.partitions == partition)
            rows[places] = self._states.rows(partition, [clicks.user_ids[place] for place in places.tolist()])
        return rows

    def _answered(self, order: UserOrder, record_timestamps_ms: NDArray[np.int64], now_ms: int) -> Places:
        """Where the clicks to be answered stand in `order`, sorted by arrival."""
        places = order.last if self._publish == "latest" else np.arange(len(order.arrival))
        if self._max_age_ms:
            times = record_timestamps_ms[order.arrival[places]]
            places = places[(times < 0) | (times >= now_ms - self._max_age_ms)]
        return places[np.argsort(order.arrival[places])]

    def _step(self, order: UserOrder, hidden: Halves, indexes: Indexes, starts: Flags) -> Halves:
        """The hidden state after every click, from those of the users before."""
        # Hot path: the loop runs once per wave, and where one user clicks a lot most waves are a few clicks.
        # In the order of the waves all that it takes is slices: picking rows took a third longer.
        release = self.release
        places, sizes = order.waves()
        starts, unknown = starts[places], indexes[places] == NO_ITEM
        inputs = release.inputs(indexes[places])
        begins = np.cumsum(sizes) - sizes
        any_start, any_unknown = (np.logical_or.reduceat(one, begins).tolist() for one in (starts, unknown))
        before = hidden[order.user[places[: len(hidden)]]]
        after = np.empty((len(places), release.state_size), np.float16)
        for begin, size, some_start, some_unknown in zip(
            begins.tolist(), sizes.tolist(), any_start, any_unknown, strict=True
        ):
            wave = slice(begin, begin + size)
            state = before[:size].astype(np.float32)
            if some_start:
                state[starts[wave]] = 0
            stepped = release.cell.step(release.weights, inputs[:, wave], state)
            if some_unknown:
                stepped[unknown[wave]] = state[unknown[wave]]
            before = after[wave]
            before[:] = stepped
        in_order = np.empty_like(after)
        in_order[places] = after
        return in_order

    def _popular(self, excluded: Indexes) -> list[str]:
        popular = self.release.popular
        kept = popular[~np.isin(popular, excluded)][: self._top]
        ids: list[str] = self.release.catalogue.ids(kept).tolist()
        return ids


def _recent(order: UserOrder, users: UserStates, codes: Indexes, places: Places, lags: Places) -> Indexes:
    """The codes of the last items at each of `places`, the click's own first; NO_ITEM before the first."""
    user, nth = order.user[places, None], order.nth[places, None]
    in_batch = nth >= lags
    number = users.clicks[user] + nth - lags
    stored = users.recent[user, number % users.recent.shape[1]]
    found = np.where(in_batch, codes[np.maximum(places[:, None] - lags, 0)], stored)
    return np.where(number >= 0, found, NO_ITEM)


def _starts(order: UserOrder, users: UserStates, timestamps_ms: NDArray[np.int64], gap_ms: int) -> Flags:
    """Which clicks come so late after their users' earlier ones that they start a session.

    Moves `users.timestamp_ms`.
    """
    stored = users.timestamp_ms[order.user]
    # One running maximum serves all users when each is lifted above the one before: up to 32,768 of them.
    lift = order.user * _ABOVE_ALL_TIMES_MS
    latest = np.maximum.accumulate(np.maximum(timestamps_ms, stored) + lift) - lift
    before = np.where(order.nth == 0, stored, np.roll(latest, 1))
    users.timestamp_ms = latest[order.last]
    return timestamps_ms - before > gap_ms if gap_ms else np.zeros(len(latest), np.bool_)


def _sessions(
    order: UserOrder, users: UserStates, starts: Flags, known: Flags
) -> tuple[NDArray[np.intp], Flags]:
    """After every click: the clicks of its session so far, and whether a known item is among them."""
    here = np.arange(len(starts))
    start = np.maximum.accumulate(np.where(starts, here, -1))
    begun = start >= order.first
    clicks = np.where(begun, here - start, users.session[order.user] + order.nth) + 1
    last_known = np.maximum.accumulate(np.where(known, here, -1))
    warm = last_known >= np.where(begun, start, order.first)
    return clicks, warm | (~begun & users.warm[order.user])


def _remember(order: UserOrder, users: UserStates, codes: Indexes) -> None:
    """Put the clicked items into the users' rings and count them."""
    ring = users.recent.shape[1]
    # Where a user clicked more often than the ring is long, the last write to a place stays: NumPy
    # assigns repeated indexes in order.
    users.recent[order.user, (users.clicks[order.user] + order.nth) % ring] = codes
    users.clicks += order.nth[order.last] + 1


def _id_lists(release: Release, indexes: Indexes) -> list[list[str]]:
    lists: list[list[str]] = release.catalogue.ids(indexes).tolist()
    for row in np.flatnonzero((indexes == NO_ITEM).any(axis=1)).tolist():
        lists[row] = lists[row][: np.count_nonzero(indexes[row] != NO_ITEM)]
    return lists
