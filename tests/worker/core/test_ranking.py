"""Exact top-K: ties, exclusions, lists longer than the catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from worker.core.ranking import NO_ITEM, ItemRows, ItemTable, top_k


def scored(*scores: float) -> ItemTable:
    """A table whose items score as given for a hidden vector of 1."""
    return ItemTable(np.array(scores, np.float32)[:, None], None)


ONE = np.ones((1, 1), np.float32)


def test_the_best_come_first_with_their_scores() -> None:
    """Three of four."""
    found = top_k(ONE, scored(1, 4, 2, 3), 3)

    assert found.indexes.tolist() == [[1, 3, 2]]
    assert found.scores.tolist() == [[4, 3, 2]]


def test_equal_scores_stand_in_the_order_of_the_catalogue() -> None:
    """At the front, in the middle and at the end of the list."""
    table = scored(*([1, 2] * 50))

    assert top_k(ONE, table, 3).indexes.tolist() == [[1, 3, 5]]
    assert top_k(ONE, table, 52).indexes.tolist() == [[*range(1, 100, 2), 0, 2]]


def test_minus_zero_and_zero_are_equal() -> None:
    """As numbers they are, though not as bits."""
    found = top_k(ONE, scored(*([-1.0] * 30), -0.0, 0.0, -0.0, 5.0), 4)

    assert found.indexes.tolist() == [[33, 30, 31, 32]]


def test_negative_scores_are_in_order() -> None:
    """Where all are below zero, as logits may be."""
    found = top_k(ONE, scored(*range(-100, 0)), 5)

    assert found.scores.tolist() == [[-1, -2, -3, -4, -5]]


@pytest.mark.parametrize("k", [1, 2, 8, 9, 50])
def test_a_list_longer_than_the_catalogue_ends_in_unused_places(k: int) -> None:
    """Down to a catalogue of one item."""
    found = top_k(ONE, scored(7), k)

    assert found.indexes.tolist() == [[0] + [NO_ITEM] * (k - 1)]
    assert found.scores.tolist() == [[7] + [-np.inf] * (k - 1)]


def test_excluded_items_make_room() -> None:
    """Named twice or not at all, in each row its own."""
    hidden = np.ones((3, 1), np.float32)
    excluded = np.array([[2, 2], [NO_ITEM, 1], [NO_ITEM, NO_ITEM]], np.int32)

    found = top_k(hidden, scored(1, 2, 3), 2, excluded)

    assert found.indexes.tolist() == [[1, 0], [2, 0], [2, 1]]


def test_where_everything_is_excluded_the_list_is_empty() -> None:
    """No item comes back because nothing else is left."""
    found = top_k(ONE, scored(1, 2, 3), 3, np.array([[0, 1, 2]], np.int32))

    assert found.indexes.tolist() == [[NO_ITEM] * 3]


def test_a_bias_is_added_to_the_scores() -> None:
    """And decides where the vectors do not."""
    table = ItemTable(np.zeros((3, 2), np.float32), np.array([0.5, 2.0, 1.0], np.float32))

    found = top_k(np.ones((2, 2), np.float32), table, 2)

    assert found.indexes.tolist() == [[1, 2], [1, 2]]
    assert found.scores.tolist() == [[2.0, 1.0], [2.0, 1.0]]


def test_no_rows_have_no_lists() -> None:
    """A batch in which nothing is to be ranked."""
    found = top_k(np.empty((0, 1), np.float32), scored(1, 2), 5)

    assert found.indexes.shape == found.scores.shape == (0, 5)


@pytest.mark.parametrize("rows", [127, 128, 129, 300])
def test_rows_beyond_one_chunk_are_ranked_like_the_first(rows: int) -> None:
    """The scores are made in chunks of 128 rows where the catalogue is large; exclusions go with them."""
    table = scored(*range(20_000))
    excluded = np.array([[19_999 - row] for row in range(rows)], np.int32)

    found = top_k(np.ones((rows, 1), np.float32), table, 3, excluded)

    best = np.arange(19_999, 19_995, -1)
    assert found.indexes.tolist() == [[i for i in best if i != 19_999 - row][:3] for row in range(rows)]


@pytest.mark.parametrize("rows", [127, 128, 129, 300])
def test_the_clicks_of_rows_beyond_one_chunk_are_their_own(rows: int) -> None:
    """What transitions and repeats add goes to the row that clicked, in every chunk, and to nothing else."""
    followers = np.column_stack([np.roll(np.arange(20_000), -1), np.full((20_000, 2), NO_ITEM)])
    gains = np.full(followers.shape, 2.0, np.float32)
    table = ItemTable(
        np.zeros((20_000, 1), np.float32),
        transitions=ItemRows(followers.astype(np.int32), gains),
        repeat_bias=[0.5, 1.0],
    )
    last = np.arange(rows, dtype=np.int32)

    found = top_k(np.ones((rows, 1), np.float32), table, 3, recent=np.stack([last, last + 9], axis=1))

    assert found.indexes.tolist() == [[row + 1, row + 9, row] for row in range(rows)]
    assert found.scores.tolist() == [[2.0, 1.0, 0.5]] * rows


def test_a_table_serves_larger_and_smaller_batches_in_turn() -> None:
    """Its scratch space grows and is used again; lists handed out before stay as they were."""
    table = scored(1, 3, 2)
    first = top_k(ONE, table, 2)
    before = first.scores.copy()

    more = top_k(-np.ones((100, 1), np.float32), table, 2)
    again = top_k(ONE, table, 2)

    assert np.array_equal(first.scores, before)
    assert more.indexes.tolist() == [[0, 2]] * 100
    assert again.indexes.tolist() == first.indexes.tolist() == [[1, 2]]
