from __future__ import annotations

import numpy as np
import pytest

from tests.builders import item_names, successor_release_parts, tiny_release
from tests.trainer.builders import sessions_of
from trainer.evaluate import measure, metrics, places_of, recent_items
from trainer.sessions import Sessions
from worker.core.batch import Clicks
from worker.core.ranking import NO_ITEM
from worker.core.recommender import Recommender
from worker.core.release import Release, verify
from worker.core.states import States


def test_metrics_by_hand() -> None:
    """Hits at places 1 and 4 of four predictions: recall 2/4, MRR (1 + 1/4) / 4."""
    found = metrics(np.array([1, 0, 4, 0]), 20, prefix="popular_")

    assert found == {"popular_recall_at_20": 0.5, "popular_mrr_at_20": 0.3125}


def test_a_place_counts_from_one_and_an_unknown_target_has_none() -> None:
    """0 stands for a target that is not in its list; an empty place is no hit for an unknown target."""
    lists = np.array([[7, 8, 9], [7, 8, 9], [7, 8, NO_ITEM], [7, 8, NO_ITEM]], np.int32)

    places = places_of(np.array([7, 9, 6, NO_ITEM], np.int32), lists)

    assert places.tolist() == [1, 3, 0, 0]


def test_recent_items_stay_within_the_session() -> None:
    """The clicks before the predicted one, the latest first, and nothing from another session."""
    recent = recent_items(sessions_of([1, 2, 3], [4, 5]), 2)

    assert recent.tolist() == [[1, NO_ITEM], [2, 1], [4, NO_ITEM]]


def test_a_network_that_knows_the_answer_scores_one() -> None:
    """On a cycle the successor release is always right, popularity only as often as it happens."""
    items = item_names(6)
    release = verify(*successor_release_parts(items, popular=items))
    sessions = sessions_of([0, 1, 2, 3], [4, 5, 0])

    found = measure(release, sessions, top=1, exclude_recent=0)

    assert (found["recall_at_1"], found["mrr_at_1"]) == (1.0, 1.0)
    assert found["popular_recall_at_1"] == pytest.approx(1 / 5)
    assert found["predictions"] == 5


def test_the_clicked_item_can_be_excluded() -> None:
    """Where the target is the item just clicked, excluding it makes a miss of a hit, for both."""
    items = item_names(4)
    release = verify(*successor_release_parts(items, popular=items))
    repeated = sessions_of([0, 0])

    shown = measure(release, repeated, top=4, exclude_recent=0)
    excluded = measure(release, repeated, top=4, exclude_recent=1)

    assert (shown["recall_at_4"], shown["popular_recall_at_4"]) == (1.0, 1.0)
    assert (excluded["recall_at_4"], excluded["popular_recall_at_4"]) == (0.0, 0.0)


def lists_of_the_worker(release: Release, sessions: Sessions, top: int) -> list[list[str]]:
    """What a worker shows after each click that has a successor, one record after the other."""
    names = {**dict(enumerate(item_names(len(release.catalogue)))), NO_ITEM: "unknown"}
    users = np.repeat(np.arange(len(sessions)), sessions.lengths)
    count = len(sessions.items)
    clicks = Clicks(
        partitions=np.zeros(count, np.int32),
        offsets=np.arange(count),
        user_ids=[f"user-{user}" for user in users],
        item_ids=[names[item] for item in sessions.items.tolist()],
        timestamps_ms=np.zeros(count, np.int64),
        record_timestamps_ms=np.zeros(count, np.int64),
    )
    states = States(state_size=release.state_size, slab_rows=64)
    recommender = Recommender(release, states, publish="every", publish_max_age_ms=0, top=top)
    lists = {shown.click: shown.items for shown in recommender.rank(recommender.absorb(clicks, now_ms=0))}
    return [lists[click - 1] for click in np.flatnonzero(sessions.scored).tolist()]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_numbers_are_about_the_code_that_serves(cell: str) -> None:
    """Recall and MRR are those of the lists that the worker publishes; unknown items and cold starts too."""
    release = tiny_release(item_names(30), cell=cell)
    random = np.random.default_rng(2)
    sessions = sessions_of(*[random.integers(-1, 30, size=random.integers(2, 9)).tolist() for _ in range(40)])
    targets = sessions.items[sessions.scored].tolist()
    shown = lists_of_the_worker(release, sessions, top=5)
    places = [
        (names.index(f"item-{target}") + 1 if f"item-{target}" in names else 0)
        for names, target in zip(shown, targets, strict=True)
    ]

    found = measure(release, sessions, top=5, exclude_recent=1, at_once=3)

    assert NO_ITEM in targets
    assert found["recall_at_5"] == pytest.approx(np.mean(np.array(places) > 0))
    assert found["mrr_at_5"] == pytest.approx(np.mean([1 / place if place else 0 for place in places]))
