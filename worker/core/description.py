"""The description of one user's state, for queries by operators and programs.

>>> states = States(state_size=4)
>>> rows, lamp = states.rows(3, ["ada"]), states.item_codes.codes(["lamp"])
>>> states.write(rows, replace(states.read(rows), clicks=np.array([1], np.int32)))
>>> ada = described(states, None, "ada", {0: (), 3: ()})
>>> ada["partition"], ada["recent_items"], ada["saved"]
(3, ['lamp'], False)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace  # noqa: F401  # for the doctest
from typing import Any

import numpy as np

from worker.core.bought import DAY_MS
from worker.core.ranking import NO_ITEM
from worker.core.recommender import Recommender
from worker.core.states import States


def described(
    states: States,
    recommender: Recommender | None,
    user_id: str,
    partitions: Mapping[int, Collection[int]],
    *,
    now_ms: int | None = None,
) -> dict[str, Any] | None:
    """Return a user's state as a JSON document; None if the user has no state. Items are oldest first.

    `partitions`: the partitions to search, each with its blocks that are not committed yet. If several
    partitions have a state of the user, for example after partitions were added, the state with the latest
    activity is described. `bought_items` are in the document only if they are kept.

    In the document, `recommendations` is the list that `recommender` would publish at `now_ms` (None: at the
    time of the user's last click), or None without a recommender. Its release may differ from the release
    that computed the state.
    """
    found = {partition: states.find(partition, user_id) for partition in partitions}
    rows = np.array([row for row in found.values() if row is not None], np.int64)
    if not len(rows):
        return None
    row = int(rows[np.argmax(states.active_ms(rows))])
    user, partition = states.read(np.array([row])), int(states.partitions(np.array([row]))[0])
    changed, block = states.are_changed(np.array([row])).any(), int(states.blocks(np.array([row]))[0])
    return {
        "user_id": user_id,
        "partition": partition,
        "recent_items": states.item_codes.ids(user.ring.oldest_first(0)),
        **_bought(states, row),
        "clicks": int(user.clicks[0]),
        "session_clicks": int(user.session[0]),
        "timestamp": int(user.timestamp_ms[0]),
        "offset": int(user.offset[0]),
        "release": int(user.release[0]),
        "recommendations": _recommendations(recommender, row, now_ms),
        "saved": not changed and block not in partitions[partition],
    }


def _bought(states: States, row: int) -> dict[str, Any]:
    """Return the user's bought items, oldest first, each with the time until which lists leave it out."""
    if states.bought is None:
        return {}
    (codes,), (days,) = states.bought.of(np.array([row]))
    kept = codes != NO_ITEM
    until_ms = (days[kept].astype(np.int64) + states.bought.days + 1) * DAY_MS
    items = zip(states.item_codes.ids(codes[kept]), until_ms.tolist(), strict=True)
    return {"bought_items": [{"item_id": item_id, "excluded_until": until} for item_id, until in items]}


def _recommendations(recommender: Recommender | None, row: int, now_ms: int | None) -> dict[str, Any] | None:
    if recommender is None:
        return None
    found = recommender.recommend(row, now_ms)
    return {
        "items": found.items,
        "scores": found.scores,
        "release": recommender.release.number,
        "reason": found.reason,
    }
