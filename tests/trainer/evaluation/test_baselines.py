from __future__ import annotations

import numpy as np

from tests.trainer.builders import sessions_of
from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.sessions import PastSessions
from trainer.evaluation.baselines import (
    Asked,
    LivePopular,
    Markov,
    Popular,
    RecentlyPopular,
)
from trainer.evaluation.replay import recent_items
from worker.core.ranking import NO_ITEM


def asked_for(*sessions: list[int], hour: float = 0, exclude: int = 0) -> Asked:
    """All clicks made in the same moment."""
    arrays = sessions_of(*sessions)
    times = np.full(len(arrays.items), round(hour * HOUR_MS))
    return Asked(arrays, times, recent_items(arrays, exclude))


def past_of(*sessions: list[int], hours: list[float] | None = None) -> PastSessions:
    """A session an hour, or one at each of `hours`."""
    arrays = sessions_of(*sessions)
    begins = np.arange(len(sessions)) if hours is None else np.array(hours)
    return PastSessions(arrays, np.repeat((begins * HOUR_MS).astype(np.int64), arrays.lengths), 8)


def test_popular_items_are_those_with_most_clicks() -> None:
    """Equal ones by catalogue order."""
    lists = Popular(past_of([5, 5, 2], [5, 2, 3])).lists(asked_for([0, 1]), 4)

    assert lists.tolist() == [[5, 2, 3, 0]]


def test_recently_popular_items_are_those_of_the_last_hours() -> None:
    """What was clicked before comes after them, by its clicks in all."""
    lists = RecentlyPopular(past_of([5, 5, 2], [3, 4]), 1).lists(asked_for([0, 1]), 4)

    assert lists.tolist() == [[3, 4, 5, 2]]


def test_live_popular_items_follow_the_held_out_clicks() -> None:
    """Counted up to the last full hour before the answer, so never with what is to be predicted."""
    arrays = sessions_of([1, 6], [6, 6], [6, 7])
    times = np.repeat(np.array([9.0, 9.5, 10.1]) * HOUR_MS, 2).astype(np.int64)
    asked = Asked(arrays, times, recent_items(arrays, 0))

    lists = LivePopular(past_of([2, 3, 2], hours=[8.5]), 2).lists(asked, 2)

    assert lists.tolist() == [[2, 3], [2, 3], [6, 2]]


def test_the_most_frequent_successor_is_first() -> None:
    """Of the last item alone; nothing follows across sessions; the rest is popular."""
    past = past_of([0, 1], [0, 2], [0, 2], [3, 0])

    lists = Markov(past).lists(asked_for([5, 0, 7]), 3)

    assert lists.tolist() == [[0, 2, 1], [2, 1, 0]]


def test_an_unknown_item_does_not_make_a_session_forget() -> None:
    """As with the network, what is unknown is no step."""
    lists = Markov(past_of([4, 5], [6, NO_ITEM, 5])).lists(asked_for([4, NO_ITEM, 1], exclude=1), 1)

    assert lists.tolist() == [[5], [5]]
