"""Item ids outside, row numbers inside, and how the ids travel in a blob."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS
from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM

NO_BYTES = np.empty(0, np.uint8)


def as_bytes(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The UTF-8 bytes of `text`."""
    return np.frombuffer(text.encode(), np.uint8)


def test_ids_and_indexes_are_inverse() -> None:
    """The index of an id is its place in the release's tables."""
    catalogue = Catalogue(ITEMS)
    indexes = catalogue.indexes(reversed(ITEMS))

    assert len(catalogue) == len(ITEMS)
    assert indexes.tolist() == [*range(len(ITEMS))][::-1]
    assert catalogue.ids(indexes).tolist() == [*reversed(ITEMS)]


def test_an_unknown_id_has_no_index() -> None:
    """Ids are compared letter by letter: no case, no space, no Unicode form is forgiven."""
    indexes = Catalogue(["lamp", "\N{LATIN SMALL LETTER E WITH ACUTE}"]).indexes(
        ["Lamp", "lamp ", "", "e\u0301"]
    )

    assert indexes.tolist() == [NO_ITEM] * 4


def test_ids_come_in_the_shape_of_their_indexes() -> None:
    """A table of lists is looked up at once."""
    found = Catalogue(["a", "b", "c"]).ids(np.array([[2, 1], [0, 0]]))

    assert found.tolist() == [["c", "b"], ["a", "a"]]


def test_no_ids_have_no_indexes() -> None:
    """An empty batch, an empty list."""
    assert Catalogue(["a"]).indexes([]).shape == (0,)


def test_an_id_that_comes_twice_is_refused() -> None:
    """Two rows of the tables cannot be one item."""
    with pytest.raises(ValueError, match="1 duplicate item ids"):
        Catalogue(["a", "b", "a"])


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_what_was_written_is_read(item_ids: list[str]) -> None:
    """Any ids in any script, down to none at all."""
    tensors: dict[str, Any] = {**Catalogue(item_ids).to_tensors()}

    read = Catalogue.from_tensors(**tensors)

    assert read.ids(np.arange(len(item_ids))).tolist() == item_ids


@pytest.mark.parametrize(
    "starts",
    [
        [],
        [0],
        [0, 3],
        [0, 5],
        [1, 4],
        [0, 0, 4],
        [0, 2, 2, 4],
        [0, 3, 1, 4],
        [0, 2, 4, 4],
        [0, -1, 4],
        [0, 2**63 - 1, -2, 4],
    ],
)
def test_starts_that_do_not_divide_the_bytes_are_refused(starts: list[int]) -> None:
    """Each id has at least one byte, and every byte has its id; no difference overflows unseen."""
    with pytest.raises(ValueError, match="does not divide"):
        Catalogue.from_tensors(as_bytes("abcd"), np.array(starts, np.int64))


def test_bytes_without_ids_are_refused() -> None:
    """And ids without bytes."""
    with pytest.raises(ValueError, match="does not divide"):
        Catalogue.from_tensors(NO_BYTES, np.array([0, 1], np.int64))


def test_ids_that_are_no_utf8_are_refused() -> None:
    """A cut through a letter as much as a byte that never stands in text."""
    for text, starts in ((as_bytes("\N{SNOWMAN}"), [0, 1, 3]), (np.array([255], np.uint8), [0, 1])):
        with pytest.raises(ValueError, match="utf-8"):
            Catalogue.from_tensors(text, np.array(starts, np.int64))


def test_ids_that_come_twice_in_a_blob_are_refused() -> None:
    """As from anywhere else."""
    with pytest.raises(ValueError, match="duplicate item ids"):
        Catalogue.from_tensors(as_bytes("abab"), np.array([0, 2, 4], np.int64))
