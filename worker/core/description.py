"""What is known of one user, for people and machines that ask."""

from __future__ import annotations

from typing import Any

import numpy as np

from worker.core.recommender import Recommender
from worker.core.states import States


def describe(states: States, recommender: Recommender | None, partition: int, user_id: str) -> dict[str, Any]:
    """The state of a user who has a row in `partition`, as JSON takes it; items the oldest first.

    `recommendations` is the list as it would be published now, under the recommender's release, which need not
    be the one that made the state; None without a recommender.
    """
    row = states.find(partition, user_id)
    if row is None:
        raise KeyError(user_id)
    user = states.read(np.array([row]))
    clicks, ring = int(user.clicks[0]), user.recent.shape[1]
    numbers = np.arange(max(0, clicks - ring), clicks)
    return {
        "user_id": user_id,
        "partition": partition,
        "recent_items": states.item_codes.ids(user.recent[0, numbers % ring]),
        "clicks": clicks,
        "session_clicks": int(user.session[0]),
        "timestamp": int(user.timestamp_ms[0]),
        "offset": int(user.offset[0]),
        "release": int(user.release[0]),
        "recommendations": _recommendations(recommender, row),
    }


def _recommendations(recommender: Recommender | None, row: int) -> dict[str, Any] | None:
    if recommender is None:
        return None
    found = recommender.recommend(row)
    return {
        "items": found.items,
        "scores": found.scores.tolist(),
        "release": recommender.release.number,
        "reason": found.reason,
    }
