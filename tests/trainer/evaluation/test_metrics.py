from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.metrics import (
    answers_of,
    interval,
    list_metrics,
    metrics,
    ranks_of,
    resampled,
    sums_by,
    values,
)
from worker.core.ranking import NO_ITEM


def test_metrics_by_hand() -> None:
    """Hits at places 1 and 3 of four predictions, K = 20: every mean by its formula."""
    found = metrics(np.array([1, 0, 3, 0]), 20)

    assert found == pytest.approx(
        {
            "recall_at_20": 2 / 4,
            "mrr_at_20": (1 + 1 / 3) / 4,
            "ndcg_at_20": (1 + 1 / 2) / 4,
            "precision_at_20": 2 / 20 / 4,
            "f1_at_20": 2 * 2 / 21 / 4,
            "accuracy": 1 / 4,
        }
    )


def test_nothing_to_predict_is_zero() -> None:
    """No division by nothing."""
    assert set(metrics(np.array([], np.int64), 5).values()) == {0.0}


def test_a_place_counts_from_one_and_an_unknown_target_has_none() -> None:
    """0 stands for a target that is not in its list; an empty place is no hit for an unknown target."""
    lists = np.array([[7, 8, 9], [7, 8, 9], [7, 8, NO_ITEM], [7, 8, NO_ITEM]], np.int32)

    ranks = ranks_of(np.array([7, 9, 6, NO_ITEM], np.int32), lists)

    assert ranks.tolist() == [1, 3, 0, 0]


def test_what_was_shown_is_counted() -> None:
    """An empty place shows nothing."""
    lists = np.array([[0, 2], [2, NO_ITEM]], np.int32)

    assert answers_of(np.array([2, 2], np.int32), lists, 4).shown.tolist() == [1, 0, 2, 0]


def test_list_metrics_by_hand() -> None:
    """Two of four items shown, of which one has half of the clicks and one an eighth."""
    found = list_metrics(np.array([3, 0, 1, 0]), np.array([4, 2, 1, 1]))

    assert found == pytest.approx(
        {"coverage": 2 / 4, "popularity": (3 * 1 / 2 + 1 / 8) / 4, "novelty": (3 * 1 + 3) / 4}
    )


def test_without_training_clicks_there_is_coverage_alone() -> None:
    """What is popular or new is known from training clicks alone."""
    assert list_metrics(np.array([1, 0]), None) == {"coverage": 0.5}


def test_the_interval_is_that_of_theory() -> None:
    """The mean of many independent sessions has the interval of the normal distribution, 1.96 errors wide."""
    values = np.random.default_rng(1).random((2000, 1)) < 0.3
    error = float(np.sqrt(values.mean() * (1 - values.mean()) / len(values)))

    low, high = interval(resampled(values.astype(np.float64)) / len(values))

    assert low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


def test_clicks_of_one_session_are_drawn_together() -> None:
    """Ten times the same prediction in each session is no more evidence than one."""
    once = (np.random.default_rng(2).random(300) < 0.5).astype(np.float64)
    often = sums_by(np.repeat(np.arange(300), 10), np.repeat(once, 10)[:, None])

    assert interval(resampled(often) / 3000) == pytest.approx(interval(resampled(once[:, None]) / 300))


def test_the_seed_decides_the_draw() -> None:
    """Same seed, same rounds; another seed, others."""
    sums = np.arange(50.0)[:, None]

    assert np.array_equal(resampled(sums, seed=3), resampled(sums, seed=3))
    assert not np.array_equal(resampled(sums, seed=3), resampled(sums, seed=4))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=50), st.sets(st.integers(1, 30), min_size=1))
def test_several_k_are_as_one_at_a_time(ranks: list[int], tops: set[int]) -> None:
    """A rank beyond K is no hit, as in a list that ends there."""
    found = values(np.array(ranks), *tops)

    alone = {
        name: one
        for top in sorted(tops)
        for name, one in values(np.where(np.array(ranks) > top, 0, ranks), top).items()
    }
    assert list(found) == list(dict.fromkeys([*(name for name in alone if name != "accuracy"), "accuracy"]))
    assert all(np.array_equal(found[name], alone[name]) for name in found)
