from __future__ import annotations

import numpy as np

from trainer.dataset.lists import filled, popular_lists
from worker.core.ranking import NO_ITEM


def test_excluded_items_make_room_for_the_next() -> None:
    """Each row has the most popular items but its own excluded ones, in order."""
    excluded = np.array([[4, 9], [NO_ITEM, 5], [NO_ITEM, NO_ITEM]], np.int32)

    lists = popular_lists(np.array([4, 5, 6, 7, 8], np.int32), excluded, 3)

    assert lists.tolist() == [[5, 6, 7], [4, 6, 7], [4, 5, 6]]


def test_a_short_list_ends_with_no_items() -> None:
    """Fewer items than places: the rest is empty, never an excluded item."""
    lists = popular_lists(np.array([4, 5], np.int32), np.array([[4]], np.int32), 3)

    assert lists.tolist() == [[5, NO_ITEM, NO_ITEM]]


def test_a_list_is_filled_up_with_popular_items_it_lacks() -> None:
    """No item comes twice, none that is excluded, and empty places make room."""
    lists = np.array([[6, 4, NO_ITEM], [NO_ITEM, NO_ITEM, NO_ITEM]], np.int32)

    found = filled(lists, np.array([4, 5, 6, 7], np.int32), np.array([[5], [4]], np.int32), 3)

    assert found.tolist() == [[6, 4, 7], [5, 6, 7]]
