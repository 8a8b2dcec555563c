"""Lists in a release: which are refused, and when a worker uses them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.builders import item_names, tiny_release, tiny_release_parts
from worker.core import tables
from worker.core.lists import Lists
from worker.core.ranking import ItemTable
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States
from worker.core.tables import Ranking
from worker.errors import ReleaseRefused

NAMES = item_names(400)


@pytest.mark.parametrize("wrong", [-1, 20])
def test_a_number_that_is_no_list_is_refused(wrong: int) -> None:
    """The text names the numbers that there may be."""
    manifest, blob = tiny_release_parts(NAMES, lists=20)
    tensors = dict(load(blob))
    tensors["lists"] = tensors["lists"].copy()
    tensors["lists"][7] = wrong
    blob = save(tensors)
    other = replace(manifest, size_bytes=len(blob), sha256=hashlib.sha256(blob).hexdigest())

    with pytest.raises(ReleaseRefused, match="lists are 0 to 19") as refused:
        verify(other, blob)

    assert refused.value.reason == "lists"


def test_lists_that_miss_the_golden_answers_are_refused() -> None:
    """Here they are drawn at random, and only the best of them is scored."""
    with pytest.raises(ReleaseRefused, match="recommends only") as refused:
        verify(*tiny_release_parts(NAMES, lists=20, list_margin=0.0))

    assert refused.value.reason == "golden"


@pytest.mark.parametrize("ranking", ["auto", "exact", "approximate"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("lists", [0, 20])
def test_ranking_is_approximate_where_it_is_asked_for_and_there_are_lists(
    lists: int, ranking: Ranking, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    """And of itself where exact ranking would cost much."""
    monkeypatch.setattr(tables, "EXACT_NUMBERS", 1 if large else 10**9)
    release = tiny_release(NAMES, lists=lists)
    expected = lists > 0 and (ranking == "approximate" or (ranking == "auto" and large))

    assert release.approximates(ranking) == expected
    recommender = Recommender(release, States(state_size=release.state_size), ranking=ranking)
    assert recommender.recall == (0.99 if expected else 1.0)


def test_many_rows_that_score_many_items_are_ranked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory is bounded; the answers are the same."""
    random = np.random.default_rng(0)
    vectors, hidden = (random.integers(-9, 10, (count, 4)).astype(np.float32) for count in (500, 33))
    lists = Lists(ItemTable(vectors, lists=(np.arange(500) % 7).astype(np.int32)), margin=1e9)
    whole = lists.top_k(hidden, 5)
    monkeypatch.setattr("worker.core.lists._SCORES", 1_200)

    parts = lists.top_k(hidden, 5)

    assert parts.indexes.tolist() == whole.indexes.tolist()


def test_a_table_without_lists_has_none_to_score() -> None:
    """It says so."""
    with pytest.raises(ValueError, match="has no lists"):
        Lists(ItemTable(np.eye(2, dtype=np.float32)), margin=1.0)
