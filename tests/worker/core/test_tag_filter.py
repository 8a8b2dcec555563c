"""The items of a catalogue that the tags of a request allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import hypothesis.strategies as st
from hypothesis import given

from worker.core.catalogue import Catalogue
from worker.core.known_items import Item, KnownItems
from worker.core.tag_filter import TagFilter
from worker.core.tags import Tags

IDS = ["a", "b", "c", "d"]
TAGS = ["x", "y", "z"]

tags = st.lists(st.sampled_from(TAGS), unique=True).map(tuple)


def _known(described: Mapping[str, Sequence[str]]) -> KnownItems:
    known = KnownItems()
    known.put([(item_id, Item(tags=tuple(its))) for item_id, its in described.items()], now_ms=0)
    return known


@given(st.lists(st.tuples(st.sampled_from(IDS), tags | st.none())), tags, tags)
def test_a_filter_is_what_it_says(
    changes: list[tuple[str, tuple[str, ...] | None]], only: tuple[str, ...], without: tuple[str, ...]
) -> None:
    """One of the tags `only`, none of `without`, by the latest descriptions, whatever came before."""
    known, filters, latest = (
        KnownItems(),
        TagFilter(Catalogue(["d", "c", "b", "other"])),
        dict[str, set[str]](),
    )
    for item_id, its in changes:
        known.put([(item_id, None if its is None else Item(tags=its))], now_ms=0)
        latest[item_id] = set(its or ())
        filters.items(known, only, without)

    found = filters.items(known, only, without)

    wanted = [
        index
        for index, item_id in enumerate(["d", "c", "b", "other"])
        if (not only or latest.get(item_id, set()) & set(only))
        and not latest.get(item_id, set()) & set(without)
    ]
    assert found.tolist() == wanted


def test_a_filter_is_kept_until_tags_change() -> None:
    """A change of the availability alone costs no filter."""
    known, filters = _known({"a": ["x"], "b": ["y"]}), TagFilter(Catalogue(IDS))
    first = filters.items(known, ("x",))
    known.put([("b", Item(available=False, tags=("y",)))], now_ms=0)

    assert filters.items(known, ("x",)) is first

    known.put([("b", Item(tags=("x", "y")))], now_ms=0)

    assert filters.items(known, ("x",)).tolist() == [0, 1]


def test_filters_do_not_pile_up() -> None:
    """Anybody may ask for any."""
    known, filters = _known({"a": ["x"]}), TagFilter(Catalogue(IDS))
    for number in range(1_000):
        filters.items(known, (f"x{number}",))

    assert len(filters._kept) <= 64


@given(st.lists(st.tuples(st.integers(0, 3), tags), max_size=30))
def test_the_places_of_a_tag_are_those_that_have_it(puts: list[tuple[int, tuple[str, ...]]]) -> None:
    """Through changes, and through collections of what is not used any more."""
    known, latest = Tags(waste=2), list[tuple[str, ...]]()
    for place, its in puts:
        at = min(place, len(latest))
        known.put(at, its)
        latest[at : at + 1] = [its]

    for tag in TAGS:
        assert known.places(tag).tolist() == [at for at, its in enumerate(latest) if tag in its]


def test_the_filters_that_are_kept_are_those_used_last() -> None:
    """Their size has a limit; a filter that is too large is computed each time."""
    known, filters = _known({"a": ["x"], "b": ["y"]}), TagFilter(Catalogue(IDS), kept_bytes=8)
    first, second = filters.items(known, ("x",)), filters.items(known, ("y",))

    assert filters.items(known, ("x",)) is first

    filters.items(known, ("x", "z"))

    assert filters.nbytes == 8
    assert filters.items(known, ("x",)) is first
    assert filters.items(known, ("y",)) is not second
    assert filters.items(known).tolist() == [0, 1, 2, 3]
    assert filters.nbytes == 0


def test_many_filters_leave_those_in_use() -> None:
    """More than are kept, one after the other."""
    known, filters = _known({"a": ["x"]}), TagFilter(Catalogue(IDS))
    first = filters.items(known, ("x",))
    for number in range(200):
        filters.items(known, (str(number),))

        assert filters.items(known, ("x",)) is first
