"""Lists of items: similar items together, and the least margin that keeps the promise."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.release.lists import HUGE, divided, margin_for, share_found, wanted_recall


def test_items_that_score_alike_are_in_one_list() -> None:
    """Four tight bunches of items: no list has items of two of them, and every number is used."""
    random = np.random.default_rng(0)
    bunch = np.repeat(np.arange(4), 50)
    vectors = (10 * np.eye(4)[bunch] + random.normal(0, 0.01, (200, 4))).astype(np.float32)
    states = random.standard_normal((300, 4)).astype(np.float32)

    lists = divided(vectors, states)

    assert sorted(set(lists.tolist())) == list(range(lists.max() + 1))
    assert all(len(set(bunch[lists == number])) == 1 for number in range(lists.max() + 1))


def test_a_direction_in_which_no_state_lies_does_not_part_items() -> None:
    """However far apart they are in it: no score shows it."""
    random = np.random.default_rng(0)
    kind = np.arange(256) % 2
    vectors = np.stack([kind, 10 * random.standard_normal(256)], axis=1).astype(np.float32)
    states = np.stack([random.standard_normal(300), np.zeros(300)], axis=1).astype(np.float32)

    lists = divided(vectors, states)

    assert all(len(set(kind[lists == number])) == 1 for number in range(lists.max() + 1))


@pytest.mark.parametrize("items", [1, 2, 3])
def test_a_few_items_are_divided_too(items: int) -> None:
    """Down to one, in one list."""
    lists = divided(np.eye(3, dtype=np.float32)[:items], np.eye(3, dtype=np.float32))

    assert len(lists) == items
    assert set(lists.tolist()) == set(range(lists.max() + 1))


@pytest.mark.parametrize("least", [0.01, 0.7, 5.0, 99.0])
def test_the_margin_is_the_least_that_reaches_the_recall(least: float) -> None:
    """To a sixteenth."""
    margin = margin_for(lambda margin: 0.9 if margin >= least else 0.8, 0.9, 100.0)

    assert margin is not None
    assert least <= margin <= max(least * 16 / 15, 100 / 64)


def test_there_is_no_margin_if_none_reaches_the_recall() -> None:
    """The widest that is allowed is the last that is tried."""
    tried = list[float]()

    def recall(margin: float) -> float:
        tried.append(margin)
        return 0.0

    assert margin_for(recall, 0.9, 100.0) is None
    assert max(tried) == 100


def test_a_margin_of_nothing_is_found_at_once() -> None:
    """Where the terms of a blend decide, the items that gain by them suffice."""
    tried = list[float]()

    def recall(margin: float) -> float:
        tried.append(margin)
        return 1.0

    assert margin_for(recall, 0.9, 100.0) == 0.0
    assert len(tried) == 1


def test_a_huge_catalogue_is_promised_less() -> None:
    """0.99 of the top items up to half a million items, 0.98 beyond; what is wanted is a little more."""
    assert 0.99 < wanted_recall(HUGE) < 1
    assert 0.98 < wanted_recall(HUGE + 1) < 0.99


def test_the_share_found_counts_the_items_of_each_row() -> None:
    """In any place of the same row."""
    exact = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32)
    found = np.array([[4, 3, 2, 9], [1, 2, 3, 5]], np.int32)

    assert share_found(exact, found) == 4 / 8
