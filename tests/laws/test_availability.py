"""Laws of availability: lists are those of a catalogue without the unavailable items, and no score is NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.builders import item_names, tiny_release
from tests.examples import examples
from tests.laws.test_lists import World, margins, worlds
from tests.laws.test_ranking import tiles  # noqa: F401  # a fixture
from worker.core.availability import Availability
from worker.core.lists import Lists
from worker.core.ranking import NO_ITEM, ItemRows, ItemTable, TopK, top_k

Flags = NDArray[np.bool_]

steps = st.lists(st.lists(st.booleans(), min_size=300, max_size=300), min_size=1, max_size=3)
"""For every item, whether it is available: several times, one after the other."""


def made(table: ItemTable, before: Flags, available: Flags, lists: Lists | None = None) -> Flags:
    """Make the items available that shall be, and the others not; what is available now."""
    items = np.flatnonzero(before != available).astype(np.int32)[::-1]
    changed = table.adjust(items, np.where(available[items], 0, -np.inf).astype(np.float32))
    if lists is not None:
        lists.note(changed)
    return available


def without(found: TopK, available: Flags, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """The first K places of lists of everything, after the unavailable items were struck off."""
    indexes, scores = [], []
    for row, row_scores in zip(*found, strict=True):
        kept = (row != NO_ITEM) & available[row]
        unused = max(0, k - int(kept.sum()))
        indexes.append(row[kept][:k].tolist() + [NO_ITEM] * unused)
        scores.append(row_scores[kept][:k].tolist() + [-np.inf] * unused)
    return indexes, scores


@pytest.mark.usefixtures("tiles")
@given(worlds(), steps)
@examples(2)
def test_exact_lists_are_those_without_the_unavailable_items(world: World, steps: list[list[bool]]) -> None:
    """Whatever clicks add to an item; and with the same scores, after any number of changes."""
    every = world.exact(world.plain, world.plain.items)
    for table in (world.plain, world.listed):
        available = np.ones(table.items, np.bool_)
        for step in steps:
            available = made(table, available, np.array(step[: table.items]))

            found = world.exact(table, world.k)

            assert not np.isnan(found.scores).any()
            indexes, scores = without(every, available, world.k)
            assert found.indexes.tolist() == indexes
            assert found.scores.tolist() == scores


@given(worlds(), steps, margins)
@examples(2)
def test_approximate_lists_are_those_of_a_catalogue_without_them(
    world: World, steps: list[list[bool]], margin: float
) -> None:
    """The same lists of items are chosen, because the means are those of the available items."""
    items, lists = world.listed.items, Lists(world.listed, margin=margin)
    before = np.ones(items, np.bool_)
    for step in steps:
        available = before = made(world.listed, before, np.array(step[:items]), lists)
        if not available.any():
            continue
        of, left = np.flatnonzero(available), np.full(items + 1, NO_ITEM, np.int32)
        left[of] = np.arange(len(of))
        smaller = reduced(world, of, left)
        asked = [left[one] for one in (world.excluded, world.recent, world.own)]
        # A click on an unavailable item still counts; a smaller catalogue does not know it.
        recent, own = (np.append(of, NO_ITEM).astype(np.int32)[one] for one in asked[1:])

        found = lists.top_k(world.hidden, world.k, world.excluded, recent, own=own)

        expected = Lists(smaller, margin=margin).top_k(world.hidden, world.k, *asked[:2], own=asked[2])
        assert not np.isnan(found.scores).any()
        assert left[found.indexes].tolist() == expected.indexes.tolist()
        assert found.scores.tolist() == expected.scores.tolist()


def reduced(world: World, of: NDArray[np.intp], left: NDArray[np.int32]) -> ItemTable:
    """The table with lists of the items `of`; `left`: their new indexes, by the old ones."""
    given = world.given

    def fewer(rows: ItemRows | None) -> ItemRows | None:
        return rows and ItemRows(left[rows.items[of]], rows.scores[of])

    terms = given.terms | {name: fewer(given.terms[name]) for name in ("transitions", "co_occurrences")}
    lists = np.unique(given.lists[of], return_inverse=True)[1].astype(np.int32)
    return ItemTable(given.vectors[of], None if given.bias is None else given.bias[of], lists=lists, **terms)


@given(worlds(), steps, margins)
def test_after_everything_is_available_again_nothing_is_left_of_it(
    world: World, steps: list[list[bool]], margin: float
) -> None:
    """Neither in exact nor in approximate lists."""
    lists = Lists(world.listed, margin=margin)
    exact, near = world.exact(world.listed, world.k), world.near(margin)
    available = np.ones(world.listed.items, np.bool_)
    for step in [*steps, [True] * 300]:
        available = made(world.listed, available, np.array(step[: len(available)]), lists)

    again = lists.top_k(world.hidden, world.k, world.excluded, world.recent, own=world.own)

    assert again.indexes.tolist() == near.indexes.tolist()
    assert again.scores.tolist() == near.scores.tolist()
    assert world.exact(world.listed, world.k).scores.tolist() == exact.scores.tolist()


@pytest.mark.usefixtures("tiles")
@given(
    rows=st.sampled_from([1, 2, 3, 5, 8, 16, 70]),
    items=st.integers(1, 200),
    size=st.sampled_from([1, 2, 3, 7, 16, 31, 32, 64, 129]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_product_has_infinities_only_where_items_are_unavailable(
    rows: int, items: int, size: int, seed: int
) -> None:
    """For all shapes at which the kernels of matrix products differ, and whatever the vectors: never NaN."""
    random = np.random.default_rng(seed)
    vectors, hidden = (random.standard_normal((count, size)).astype(np.float32) for count in (items, rows))
    hidden[random.random(hidden.shape) < 0.2] = 0
    table, available = ItemTable(vectors), random.random(items) < 0.5
    made(table, np.ones(items, np.bool_), available)

    found = top_k(hidden, table, items)

    assert ((found.indexes != NO_ITEM).sum(axis=1) == available.sum()).all()
    assert np.isfinite(found.scores[found.indexes != NO_ITEM]).all()
    assert np.allclose(
        found.scores[:, : available.sum()], -np.sort(-(hidden @ vectors[available].T), axis=1), atol=1e-4
    )


names = item_names(12)


@given(
    st.lists(st.lists(st.sampled_from([*names, "unknown"]), unique=True), max_size=4),
    st.lists(st.integers(NO_ITEM, 11), max_size=3),
    st.integers(1, 12),
)
def test_the_fallback_list_is_filled_from_the_next_popular_items(
    steps: list[list[str]], excluded: list[int], top: int
) -> None:
    """In the order of their popularity, without what is unavailable or excluded."""
    release = tiny_release(names)
    availability = Availability(release)
    for step in steps:
        availability.only_without(step)
        left_out = {*step, *(names[one] for one in excluded if one != NO_ITEM)}

        found = availability.popular(np.array(excluded, np.int32), top)

        expected = [one for one in release.manifest.popular if one not in left_out][:top]
        assert release.catalogue.ids(found).tolist() == expected
        assert availability.unavailable == len({*step} - {"unknown"})
