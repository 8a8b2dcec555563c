from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.trainer.builders import sessions_of
from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.sessions import PastSessions, Sessions
from trainer.evaluation import baselines
from trainer.evaluation.baselines import (
    Asked,
    CoOccurring,
    LivePopular,
    Markov,
    OwnItems,
    Popular,
    RecentlyPopular,
)
from trainer.evaluation.replay import recent_items
from worker.core.ranking import NO_ITEM

ITEMS = 8


def asked_for(*sessions: list[int], hour: float = 0, exclude: int = 0, users: str = "") -> Asked:
    """All clicks made in the same moment; each session by another user, or by those that are named."""
    arrays = sessions_of(*sessions)
    times = np.full(len(arrays.items), round(hour * HOUR_MS))
    new = np.zeros(len(arrays.items), np.bool_)
    return Asked(arrays, times, recent_items(arrays, exclude), numbers_of(arrays, users), new)


def past_of(*sessions: list[int], hours: list[float] | None = None, users: str = "") -> PastSessions:
    """A session an hour, or one at each of `hours`; by users as in `asked_for`."""
    arrays = sessions_of(*sessions)
    begins = np.arange(len(sessions)) if hours is None else np.array(hours)
    times = np.repeat((begins * HOUR_MS).astype(np.int64), arrays.lengths)
    return PastSessions(arrays, times, ITEMS, numbers_of(arrays, users))


def numbers_of(sessions: Sessions, users: str) -> NDArray[np.uint64]:
    """A number for each click: that of the letter of its session's user."""
    names = [ord(name) for name in users] or [*range(len(sessions))]
    return np.repeat(np.array(names, np.uint64), sessions.lengths)


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
    new = np.zeros(6, np.bool_)
    asked = Asked(arrays, times, recent_items(arrays, 0), numbers_of(arrays, ""), new)
    past = past_of([2, 3, 2], hours=[8.5])

    lists = LivePopular(past, 2).lists(asked, 2)
    again = asked._replace(context=np.array([True, True, False, False, False, False]))

    assert lists.tolist() == [[2, 3], [2, 3], [6, 2]]
    # The clicks of hour 9 are context, so they were counted with the past, if at all.
    assert LivePopular(past, 2).lists(again, 8)[2].tolist() == [2, 6, 3, 0, 1, 4, 5, 7]


def test_the_most_frequent_successor_is_first() -> None:
    """Of the last item alone; nothing follows across sessions; the rest is popular."""
    past = past_of([0, 1], [0, 2], [0, 2], [3, 0])

    lists = Markov(past).lists(asked_for([5, 0, 7]), 3)

    assert lists.tolist() == [[0, 2, 1], [2, 1, 0]]


def test_an_unknown_item_does_not_make_a_session_forget() -> None:
    """As with the network, what is unknown is no step."""
    lists = Markov(past_of([4, 5], [6, NO_ITEM, 5])).lists(asked_for([4, NO_ITEM, 1], exclude=1), 1)

    assert lists.tolist() == [[5], [5]]


some_sessions = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.integers(NO_ITEM, ITEMS - 1), min_size=1, max_size=7)),
    min_size=1,
    max_size=6,
).map(lambda rows: sorted(rows, key=lambda row: row[0]))
"""Sessions grouped by user."""


def check_votes(found: list[int], votes: dict[int, float], excluded: list[int]) -> None:
    """The list has the most voted items that are not excluded, then the others that are not, each once."""
    expected = {item: vote for item, vote in votes.items() if item not in excluded and vote > 0}
    kept = [item for item in found if item != NO_ITEM]
    assert len({*kept}) == len(kept) == min(5, ITEMS - len({*excluded} - {NO_ITEM}))
    assert not {*kept} & {*excluded}
    best = sorted(expected.values(), reverse=True)[: len(kept)]
    assert [votes[item] for item in kept[: len(best)]] == pytest.approx(best, rel=1e-5)


def drawn(rows: list[tuple[str, list[int]]]) -> tuple[list[list[int]], str]:
    """The sessions, and their users."""
    return [items for _, items in rows], "".join(user for user, _ in rows)


@pytest.mark.parametrize(("clicks", "at_once"), [(500, 1 << 22), (3, 1)])
@given(before=some_sessions, after=some_sessions, exclude=st.integers(0, 2))
def test_own_items_are_counted_one_by_one(
    before: list[tuple[str, list[int]]],
    after: list[tuple[str, list[int]]],
    exclude: int,
    clicks: int,
    at_once: int,
) -> None:
    """All that the user clicked so far, in any session, halved with every 50 later clicks of the user."""
    (past, names), (late, late_names) = drawn(before), drawn(after)
    asked = asked_for(*late, exclude=exclude, users=late_names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_OWN_CLICKS", clicks)
        patch.setattr(baselines, "_CLICKS_AT_ONCE", at_once)
        lists = OwnItems(past_of(*past, users=names)).lists(asked, 5).tolist()

    history = {name: [item for user, items in before if user == name for item in items] for name in "abc"}
    for name, items in after:
        for item in items[:-1]:
            history[name].append(item)
            votes = dict.fromkeys(range(NO_ITEM, ITEMS), 0.0)
            for later, own in enumerate(history[name][::-1][:clicks]):
                votes[own] += 0.5 ** (later / 50)
            del votes[NO_ITEM]
            check_votes(lists.pop(0), votes, asked.excluded[len(asked.excluded) - len(lists) - 1].tolist())
        history[name].append(items[-1])
    assert lists == []


def test_clicks_of_an_endless_session_are_a_users_own_once() -> None:
    """They are among the past sessions and, as context, before the predictions."""
    past = past_of([0, 1, 1], [2, 2, 2], users="ab")
    asked = asked_for([0, 1, 1, 0, 0, 3], users="a")
    asked.sessions.scored[:3] = False
    asked.context[:3] = True
    excluded = np.full((3, 1), NO_ITEM, np.int32)

    lists = OwnItems(past).lists(asked._replace(excluded=excluded), 3)

    assert lists.tolist() == [[1, 0, 2], [0, 1, 2], [0, 1, 2]]


@given(before=some_sessions, after=some_sessions, exclude=st.integers(0, 2))
def test_co_occurrences_vote_one_by_one(
    before: list[tuple[str, list[int]]], after: list[tuple[str, list[int]]], exclude: int
) -> None:
    """Every two clicks of a past session count 1 / distance; the last clicks vote, the latest most."""
    (past, _), (late, _) = drawn(before), drawn(after)
    asked = asked_for(*late, exclude=exclude)
    lists = CoOccurring(past_of(*past)).lists(asked, 5).tolist()

    counts = dict.fromkeys(((one, other) for one in range(ITEMS) for other in range(ITEMS)), 0.0)
    for session in past:
        for here, one in enumerate(session):
            for there, other in enumerate(session):
                if one != other and NO_ITEM not in {one, other} and abs(here - there) <= 10:
                    counts[one, other] += 1 / abs(here - there)
    for session in late:
        for place in range(1, len(session)):
            votes = dict.fromkeys(range(ITEMS), 0.0)
            for lag, one in enumerate(session[:place][::-1]):
                for other in range(ITEMS):
                    votes[other] += counts.get((one, other), 0.0) / (lag + 1)
            check_votes(lists.pop(0), votes, asked.excluded[len(asked.excluded) - len(lists) - 1].tolist())
    assert lists == []
