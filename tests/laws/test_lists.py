"""Laws of approximate ranking: it may miss items, but scores, clicks and exclusions count as always."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws.test_ranking import rows_of
from worker.core.lists import Lists
from worker.core.ranking import NO_ITEM, Floats, Indexes, ItemTable, OwnItems, TopK, top_k


class Given(NamedTuple):
    """What a table is made from."""

    vectors: Floats
    bias: Floats | None
    lists: Indexes
    terms: dict[str, Any]


class World(NamedTuple):
    """The same items as a table with lists and one without, and what is asked of both."""

    listed: ItemTable
    plain: ItemTable
    hidden: Floats
    excluded: Indexes
    recent: Indexes
    own: Indexes
    k: int
    given: Given

    def near(self, margin: float, rows: slice = slice(None)) -> TopK:
        """The approximate answer."""
        lists = Lists(self.listed, margin=margin)
        return lists.top_k(
            self.hidden[rows], self.k, self.excluded[rows], self.recent[rows], own=self.own[rows]
        )

    def exact(self, table: ItemTable, k: int) -> TopK:
        """The exact answer."""
        return top_k(self.hidden, table, k, self.excluded, self.recent, own=self.own)


@st.composite
def worlds(draw: st.DrawFn, *, exact_means: bool = False, exact_gains: bool = False) -> World:
    """Vectors of small integers, so that ties are common and sums exact.

    `exact_means`: whether the mean of a list is exact, too, because its size is a power of two. Others are
    rounded, so two lists with the same mean score may be told apart by the shape of a batch. `exact_gains`:
    whether all that clicks add is a whole number, too, so that sums are the same in any order.
    """
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, rows = draw(st.integers(1, 300)), draw(st.integers(1, 8) | st.just(70))
    size, spread = draw(st.integers(1, 3)), draw(st.sampled_from([0, 1, 2, 1000]))
    vectors = random.integers(-spread, spread + 1, (items, size)).astype(np.float32)
    numbers = random.integers(0, draw(st.integers(1, 40)), items)
    if exact_means:
        shift = draw(st.integers(0, 4))
        items = max(1, items >> shift) << shift
        vectors, numbers = np.resize(vectors, (items, size)), random.permutation(items) >> shift
    lists = np.unique(numbers, return_inverse=True)[1].astype(np.int32)
    bias = random.integers(-1, 2, items).astype(np.float32) if draw(st.booleans()) else None
    terms = {
        "transitions": rows_of(random, items, draw(st.sampled_from([0, 1, 7]))),
        "co_occurrences": rows_of(random, items, draw(st.sampled_from([0, 1, 7]))),
        "co_occurrence_decay": random.integers(-2, 3, draw(st.sampled_from([1, 3]))).tolist(),
        "repeat_bias": random.integers(-2, 3, draw(st.sampled_from([0, 1, 3]))).tolist(),
        "own_items": OwnItems(0 if exact_gains else draw(st.sampled_from([0, 5])), 1.5, 2.0),
    }
    listed, plain = ItemTable(vectors, bias, lists=lists, **terms), ItemTable(vectors, bias, **terms)
    recent, own = (
        random.integers(NO_ITEM, items, (rows, needed)).astype(np.int32)
        for needed in (plain.recent_needed, plain.own_needed)
    )
    hidden = random.integers(-2, 3, (rows, size)).astype(np.float32)
    excluded = random.integers(NO_ITEM, items, (rows, draw(st.integers(0, 4)))).astype(np.int32)
    k, given = draw(st.integers(1, 40)), Given(vectors, bias, lists, terms)
    return World(listed, plain, hidden, excluded, recent, own, k, given)


margins = st.sampled_from([0.0, 0.5, 2.0, 100.0])


@given(worlds())
@examples(2)
def test_within_any_margin_it_is_exact_ranking(world: World) -> None:
    """Items, scores and ties, if all lists are scored. Exact ranking does not depend on lists."""
    expected = world.exact(world.plain, world.k)

    for found in (world.near(1e9), world.exact(world.listed, world.k)):
        assert found.indexes.tolist() == expected.indexes.tolist()
        assert found.scores.tolist() == expected.scores.tolist()


@given(worlds(), margins)
@examples(2)
def test_it_differs_only_in_which_items_never_in_their_scores(world: World, margin: float) -> None:
    """Lists are as long as exact ones, without excluded items, in the order of score and item."""
    every = world.exact(world.plain, world.plain.items)
    exact, near = world.exact(world.plain, world.k), world.near(margin)

    assert ((near.indexes == NO_ITEM) == (exact.indexes == NO_ITEM)).all()
    for items, scores, all_items, all_scores in zip(*near, *every, strict=True):
        score_of = dict(zip(all_items.tolist(), all_scores.tolist(), strict=True))
        shown = [item for item in items.tolist() if item != NO_ITEM]
        assert [score_of[item] for item in shown] == scores[: len(shown)].tolist()
        assert shown == sorted(shown, key=lambda item: (-score_of[item], item))


@given(worlds(), margins)
@examples(2)
def test_what_gains_by_clicks_is_never_lost(world: World, margin: float) -> None:
    """An item that a term of the blend touches is in the list, unless all that are shown are better."""
    every = world.exact(world.plain, world.plain.items)
    near, gains = world.near(margin), world.plain.gains(world.recent, world.own).without_padding()

    for row, item in zip(gains.rows.tolist(), gains.items.tolist(), strict=True):
        at = np.flatnonzero(every.indexes[row] == item)
        if len(at) and item not in near.indexes[row]:
            last = near.indexes[row, -1]
            assert last != NO_ITEM
            assert (-near.scores[row, -1], last) < (-every.scores[row, at[0]], item)


@given(worlds(exact_means=True), margins)
def test_a_row_is_ranked_as_it_is_alone(world: World, margin: float) -> None:
    """Whatever the other rows of the batch."""
    together = world.near(margin)

    for row in range(len(world.hidden)):
        alone = world.near(margin, slice(row, row + 1))
        assert alone.indexes.tolist() == together.indexes[row : row + 1].tolist()
        assert alone.scores.tolist() == together.scores[row : row + 1].tolist()
