"""The columns of a batch that depend on the order of each user's clicks: idle times, sessions, recent items.

All functions take clicks in the order of `UserOrder`, and the states of their users before the batch.

>>> order = UserOrder(np.array([7, 7, 9]))
>>> users = UserStates(*np.zeros((8, 2), np.int64))
>>> users.timestamp_ms = np.array([1_000, 5_000])
>>> idle(order, users, np.array([3_000, 4_000, 4_500])).tolist(), users.timestamp_ms.tolist()
([2000, 1000, 0], [4000, 5000])
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.batch import Places, UserOrder
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.user_states import UserStates

Flags = NDArray[np.bool_]

_ABOVE_ALL_TIMES_MS: Final = 1 << 48


def idle(order: UserOrder, users: UserStates, timestamps_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return, for each click, the time since the latest earlier click of its user, in ms, at least 0.

    Updates `users.timestamp_ms`.
    """
    stored = users.timestamp_ms[order.user]
    # One running maximum serves all users if each user's times are shifted above the previous user's.
    lift = order.user * _ABOVE_ALL_TIMES_MS
    latest = np.maximum.accumulate(np.maximum(timestamps_ms, stored) + lift) - lift
    before = np.where(order.nth == 0, stored, np.roll(latest, 1))
    users.timestamp_ms = latest[order.last]
    return latest - before


def afresh(
    order: UserOrder,
    users: UserStates,
    idle_ms: NDArray[np.int64],
    *,
    ttl_ms: int,
    offsets: NDArray[np.int64],
    void_before: NDArray[np.int64],
) -> Flags:
    """Return a mask of the clicks that start from an empty state.

    These are the first clicks after a gap of more than `ttl_ms`, or after a deletion.
    """
    before = np.where(order.nth == 0, users.offset[order.user], np.roll(offsets, 1))
    void = (before < void_before) & (offsets >= void_before)
    return void | (idle_ms > ttl_ms) if ttl_ms else void


def numbers(order: UserOrder, users: UserStates, afresh: Flags) -> tuple[Places, Places]:
    """Return, for every click, the number of its user's earlier clicks, in total and in this batch.

    Both numbers start over from 0 at each click of `afresh`.
    """
    here = np.arange(len(afresh))
    begin = np.maximum.accumulate(np.where(afresh, here, -1))
    begun = begin >= order.first
    since = np.where(begun, here - begin, order.nth)
    return np.where(begun, since, users.clicks[order.user] + order.nth), since


def recent(
    order: UserOrder,
    users: UserStates,
    codes: Indexes,
    places: Places,
    lags: Places,
    *,
    numbers: Places,
    since: Places,
) -> Indexes:
    """Return the user's recent item codes at each of `places`, newest first, padded with `NO_ITEM`."""
    stored = users.ring.at(order.user[places, None], numbers[places, None] - lags)
    here = codes[np.maximum(places[:, None] - lags, 0)]
    return np.where(lags <= since[places, None], here, stored)


def padded(recent: Indexes, count: int) -> Indexes:
    """Return a copy of the first `count` columns of `recent`, padded with `NO_ITEM`."""
    padded = np.full((len(recent), count), NO_ITEM, np.int32)
    padded[:, : recent.shape[1]] = recent[:, :count]
    return padded


def sessions(
    order: UserOrder, users: UserStates, starts: Flags, known: Flags
) -> tuple[NDArray[np.intp], Flags]:
    """Return, after every click, the length of its session and whether any item of the session is known."""
    here = np.arange(len(starts))
    start = np.maximum.accumulate(np.where(starts, here, -1))
    begun = start >= order.first
    clicks = np.where(begun, here - start, users.session[order.user] + order.nth) + 1
    last_known = np.maximum.accumulate(np.where(known, here, -1))
    warm = last_known >= np.where(begun, start, order.first)
    return clicks, warm | (~begun & users.warm[order.user])
