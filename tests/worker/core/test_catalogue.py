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


IDS_OF_200_BYTES = ["\N{SNOWMAN}" * 60 + f"{number:020}" for number in range(70_000)]
"""More than are decoded at once."""


def test_ids_of_200_bytes_are_ids() -> None:
    """A URL, a path, a name in another script."""
    tensors: dict[str, Any] = {**Catalogue(IDS_OF_200_BYTES).to_tensors()}
    catalogue = Catalogue.from_tensors(**tensors)
    some = np.array([0, 1, 65_535, 65_536, 69_999], np.int32)

    assert len(tensors["item_ids"]) == 200 * len(IDS_OF_200_BYTES)
    assert catalogue.ids(some).tolist() == [IDS_OF_200_BYTES[index] for index in some]
    assert catalogue.indexes([IDS_OF_200_BYTES[index] for index in some]).tolist() == some.tolist()
    assert catalogue.indexes([IDS_OF_200_BYTES[7][:-1]]).tolist() == [NO_ITEM]


@given(st.lists(st.text(max_size=3), unique=True, min_size=1, max_size=20), st.data())
def test_ids_are_found_as_in_a_dictionary(item_ids: list[str], data: st.DataObject) -> None:
    """Known and unknown ids, several times, in any order; the same id is the same string again."""
    catalogue = Catalogue(item_ids)
    asked = data.draw(st.lists(st.sampled_from(item_ids) | st.text(max_size=3), max_size=30))
    index = {item_id: number for number, item_id in enumerate(item_ids)}

    found = catalogue.indexes(asked)

    assert found.tolist() == [index.get(item_id, NO_ITEM) for item_id in asked]
    known = found[found != NO_ITEM]
    assert catalogue.ids(known).tolist() == [item_id for item_id in asked if item_id in index]
    assert all(one is other for one, other in zip(catalogue.ids(known), catalogue.ids(known), strict=True))


def test_ids_with_the_same_hash_are_two_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which happens once in a long time: here all ids of the same length have the same."""
    monkeypatch.setattr("worker.core.catalogue.hash", len, raising=False)
    catalogue = Catalogue(["lamp", "rug", "sofa", "bed", "desk"])

    assert catalogue.indexes(["desk", "sofa", "lamp", "bed", "rug"]).tolist() == [4, 2, 0, 3, 1]
    assert catalogue.indexes(["vase", "mat", "chair"]).tolist() == [NO_ITEM] * 3
    with pytest.raises(ValueError, match="2 duplicate item ids"):
        Catalogue(["lamp", "rug", "sofa", "rug", "lamp"])


def test_an_id_that_is_no_text_is_unknown() -> None:
    """JSON may have half of a pair of surrogates."""
    assert Catalogue(["a"]).indexes(["\ud800"]).tolist() == [NO_ITEM]


def test_padding_has_some_id() -> None:
    """Who asks for it leaves it out."""
    assert Catalogue(["a", "b"]).ids(np.array([1, NO_ITEM])).tolist()[0] == "b"
    assert Catalogue([]).ids(np.empty((0, 3), np.int32)).shape == (0, 3)


def test_the_memory_of_ids_is_their_bytes_and_a_few_more() -> None:
    """Strings and a dictionary of them would take four times as much beside the bytes."""
    catalogue = Catalogue(IDS_OF_200_BYTES)

    assert catalogue.nbytes < (200 + 30) * len(IDS_OF_200_BYTES)
