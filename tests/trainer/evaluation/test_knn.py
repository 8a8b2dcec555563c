from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.dataset.sessions import PastSessions
from trainer.evaluation.baselines import Asked
from trainer.evaluation.knn import S_KNN, VMIS_KNN, VS_KNN, Neighbours, NeighbourSettings
from trainer.evaluation.replay import recent_items
from worker.core.ranking import NO_ITEM

ITEMS = 30
TOP = 6


def past_of(*sessions: Sequence[int]) -> PastSessions:
    """Sessions that come one after the other."""
    arrays = sessions_of(*sessions)
    return PastSessions(arrays, np.arange(len(arrays.items)), ITEMS, np.zeros(len(arrays.items), np.uint64))


def asked_for(*sessions: Sequence[int], exclude: int = 0) -> Asked:
    """Every click but the first of each session."""
    arrays = sessions_of(*sessions)
    nobody, new = np.zeros(len(arrays.items), np.uint64), np.zeros(len(arrays.items), np.bool_)
    return Asked(arrays, np.arange(len(arrays.items)), recent_items(arrays, exclude), nobody, new)


def by_definition(past: list[list[int]], session: list[int], settings: NeighbourSettings) -> dict[int, float]:
    """The votes for each item as the papers write them, sets and loops."""
    session = session[-settings.last_items :]
    sharing = [n for n in reversed(range(len(past))) if set(past[n]) & set(session)][: settings.sample]
    position = {item: at for at, item in enumerate(session, start=1)}
    similarity = {}
    for n in sharing:
        shared = set(past[n]) & set(session)
        if settings.similarity == "cosine":
            similarity[n] = len(shared) / np.sqrt(len(set(past[n])) * len(set(session)))
        else:
            similarity[n] = sum(position[item] for item in shared)
    votes: dict[int, float] = {}
    for n in sorted(sharing, key=lambda n: (-round(similarity[n], 9), -n))[: settings.neighbours]:
        ago = 1 + min(list(reversed(session)).index(item) for item in set(past[n]) & set(session))
        fade = {"none": 1.0, "inverse": 1 / ago, "linear": max(0.0, 1 - ago / 10)}[settings.matching]
        for item in set(past[n]):
            having = sum(item in one for one in past)
            weight = np.log(len(past) / having) if settings.rarity else 1.0
            votes[item] = votes.get(item, 0.0) + similarity[n] * fade * weight
    return votes


@pytest.mark.parametrize("settings", [S_KNN, VS_KNN, VMIS_KNN], ids=["s-knn", "vs-knn", "vmis-knn"])
def test_the_fast_form_votes_as_defined(settings: NeighbourSettings) -> None:
    """Whatever is recommended has the votes that the plain definition gives to the best items, in order."""
    random = np.random.default_rng(5)
    past = [random.integers(ITEMS, size=random.integers(2, 8)).tolist() for _ in range(60)]
    session = random.integers(ITEMS, size=12).tolist()
    fewer = NeighbourSettings(
        sample=20,
        neighbours=8,
        similarity=settings.similarity,
        matching=settings.matching,
        rarity=settings.rarity,
        last_items=5,
    )
    lists = Neighbours(past_of(*past), fewer).lists(asked_for(session), TOP)

    for before, found in enumerate(lists.tolist(), start=1):
        votes = by_definition(past, session[:before], fewer)
        best = sorted(votes.values(), reverse=True)[:TOP]

        assert [votes.get(item, 0.0) for item in found[: len(best)]] == pytest.approx(best)


def test_the_most_recent_sessions_are_looked_at() -> None:
    """With a sample of one only the session that ended last counts."""
    settings = NeighbourSettings(sample=1, neighbours=1, similarity="cosine", matching="none", rarity=False)
    past = past_of([1, 5], [1, 7], [2, 8])

    assert Neighbours(past, settings).lists(asked_for([1, 9], exclude=1), 1).tolist() == [[7]]


def test_equal_votes_rank_by_catalogue_order() -> None:
    """The lower index first."""
    lists = Neighbours(past_of([9, 3, 6]), S_KNN).lists(asked_for([9, 0], exclude=1), 2)

    assert lists.tolist() == [[3, 6]]


def test_before_any_known_item_the_popular_ones_are_shown() -> None:
    """There is nothing to compare the session by."""
    lists = Neighbours(past_of([4, 4, 2], [4, 1]), VMIS_KNN).lists(asked_for([NO_ITEM, 1]), 2)

    assert lists.tolist() == [[4, 1]]
