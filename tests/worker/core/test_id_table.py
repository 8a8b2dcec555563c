"""Ids and their places: the same as in a dictionary, in much less memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core import catalogue, id_table
from worker.core.catalogue import Catalogue
from worker.core.id_table import NOWHERE, IdTable


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_it_is_a_dictionary(added: list[str], asked: list[str]) -> None:
    """Whatever the ids are, even text that is not Unicode."""
    table, expected = IdTable(), dict[str, int]()
    for one in added:
        assert table.add(one) == expected.setdefault(one, len(expected))

    assert len(table) == len(expected)
    assert [table.find(one) for one in asked] == [expected.get(one, NOWHERE) for one in asked]
    assert [table.id(place) for place in expected.values()] == [*expected]


@given(st.lists(st.text(max_size=3)), st.lists(st.text(min_size=1, max_size=3), unique=True))
def test_many_ids_are_found_at_once(added: list[str], asked: list[str]) -> None:
    """At the same places."""
    table, known = IdTable(), [one for one in asked if one.isprintable()]
    for one in added:
        table.add(one)

    assert Catalogue(known).places(table).tolist() == [table.find(one) for one in known]


def test_many_ids_are_found_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same hash as others, with longer and shorter ones, and some at a time."""
    monkeypatch.setattr(id_table, "_HASH", 3)
    monkeypatch.setattr(catalogue, "_DECODED", 7)
    table, names = IdTable(), [f"item-{number}" for number in range(60)]
    for one in names[::2]:
        table.add(one)

    assert Catalogue(names).places(table).tolist() == [table.find(one) for one in names]


def test_it_grows() -> None:
    """Every id keeps its place; ids with the same hash are told from each other by their text."""
    table, count = IdTable(), 3 * id_table._SMALLEST
    places = [table.add(f"item-{number}") for number in range(count)]

    assert places == [*range(count)]
    assert [table.find(f"item-{number}") for number in range(count)] == places
    assert table.find("item-x") == NOWHERE


def test_ids_with_the_same_hash_are_different() -> None:
    """As their texts are."""
    table = IdTable()
    slots = [table._slot(text, 7) for text in (b"a", b"b")]
    table._text, table._table[slots[0]] = bytearray(b"a"), 0
    table._starts.append(1)
    table._hashes.append(7)

    assert slots[0] == slots[1]
    assert [table._slot(text, 7) - slots[0] for text in (b"a", b"b")] == [0, 1]


def test_it_takes_little_memory() -> None:
    """A third of a dictionary's."""
    tracemalloc.start()
    table = IdTable()
    for number in range(50_000):
        table.add(f"item-{number}")
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert size / 50_000 < 50
