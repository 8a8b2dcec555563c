"""Codes of items: what they are for, and how those that nobody needs are taken back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from worker.core import items
from worker.core.catalogue import Catalogue
from worker.core.items import ItemCodes, ItemIndexes
from worker.core.ranking import NO_ITEM


def test_codes_are_given_in_order_and_kept() -> None:
    """A code outlives the release under which it was given."""
    codes = ItemCodes()

    assert codes.codes(["lamp", "rug", "lamp"]).tolist() == [0, 1, 0]
    assert codes.codes(["sofa", "rug", "", "sofa"]).tolist() == [2, 1, 3, 2]
    assert codes.ids(np.array([3, 0, 2], np.int32)) == ["", "lamp", "sofa"]
    assert codes.codes([]).tolist() == []
    assert len(codes) == 4


def test_a_code_finds_the_index_of_its_item() -> None:
    """Also of items that got their code after the last look, in a catalogue of any order."""
    codes = ItemCodes()
    indexes = ItemIndexes(Catalogue(["rug", "lamp"]), codes)

    assert indexes(codes.codes(["lamp", "sofa", "lamp"])).tolist() == [1, NO_ITEM, 1]
    assert indexes(codes.codes(["rug", "chair", "lamp"])).tolist() == [0, NO_ITEM, 1]


def test_no_item_has_no_index() -> None:
    """The place of an item that was never clicked finds none: not the first, not the last, in any shape."""
    codes = ItemCodes()
    indexes = ItemIndexes(Catalogue(["lamp", "rug"]), codes)
    nothing = np.full((2, 1), NO_ITEM, np.int32)

    assert indexes(nothing).tolist() == [[NO_ITEM], [NO_ITEM]]
    codes.codes(["rug", "lamp"])
    assert indexes(nothing).tolist() == [[NO_ITEM], [NO_ITEM]]


def test_two_catalogues_read_the_same_codes() -> None:
    """An item that was unknown when it was clicked counts once a release knows it."""
    codes = ItemCodes()
    clicked = codes.codes(["lamp", "sofa"])

    assert ItemIndexes(Catalogue(["lamp"]), codes)(clicked).tolist() == [0, NO_ITEM]
    assert ItemIndexes(Catalogue(["sofa", "rug", "lamp"]), codes)(clicked).tolist() == [2, 0]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collect from three items on, two codes at a step."""
    monkeypatch.setattr(items, "COLLECT_FROM", 3)
    monkeypatch.setattr(items, "_SWEPT", 2)


def collected(codes: ItemCodes, *named: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Collect all but the codes of `named`; after the first step something else happens."""
    assert codes.begin_collection()
    codes.keep(codes.codes(named))
    codes.sweep()
    meanwhile()
    while codes.collecting:
        codes.sweep()


def test_codes_that_nobody_names_are_given_again(few: None) -> None:
    """What is named keeps its code; what was taken back gets another when it is clicked again."""
    codes = ItemCodes()
    codes.codes(["lamp", "rug", "sofa", "chair", "bed"])
    collected(codes, "rug", "bed")

    assert len(codes) == 2
    assert codes.codes(["rug", "bed"]).tolist() == [1, 4]
    again = codes.codes(["lamp", "desk", "shelf", "vase"]).tolist()
    assert sorted(again) == [0, 2, 3, 5]
    assert codes.ids(np.array(again)) == ["lamp", "desk", "shelf", "vase"]


def test_what_is_asked_for_during_a_collection_is_kept(few: None) -> None:
    """New codes, old ones that were not swept yet, and ones that were taken back a moment ago."""
    codes = ItemCodes()
    codes.codes(["lamp", "rug", "sofa", "chair", "bed"])
    asked = ["bed", "lamp", "desk", "vase"]
    collected(codes, meanwhile=lambda: codes.codes(asked))

    assert len(codes) == 4
    assert codes.ids(codes.codes(asked)) == asked


def test_a_collection_begins_when_there_are_twice_as_many(few: None) -> None:
    """As the last one left; never with a few, and never two at once."""
    codes = ItemCodes()
    codes.codes(["lamp", "rug"])
    assert not codes.begin_collection()
    codes.codes(["sofa", "chair"])
    collected(codes, "lamp", "rug", "sofa", "chair")
    codes.codes(["bed", "desk", "vase"])
    assert not codes.begin_collection()
    codes.codes(["shelf"])

    assert codes.begin_collection()
    assert not codes.begin_collection()


def test_an_index_follows_a_code_to_its_next_item(few: None) -> None:
    """Whether it was asked in between or not."""
    codes = ItemCodes()
    catalogue = Catalogue(["lamp", "rug", "sofa", "chair"])
    often, once = ItemIndexes(catalogue, codes), ItemIndexes(catalogue, codes)
    first = codes.codes(["lamp", "rug", "what", "sofa"])
    assert often(first).tolist() == once(first).tolist() == [0, 1, NO_ITEM, 2]
    wanted = list[str]()
    for named, new in ((["rug"], ["sofa", "that", "lamp"]), (["lamp"], ["chair", "rug", "other"])):
        collected(codes, *named)
        wanted = [*named, *new]
        assert often(codes.codes(wanted)).tolist() == catalogue.indexes(wanted).tolist()

    assert once(codes.codes(wanted)).tolist() == catalogue.indexes(wanted).tolist()
    assert once(np.array([NO_ITEM], np.int32)).tolist() == [NO_ITEM]
