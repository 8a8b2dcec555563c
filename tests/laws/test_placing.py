"""Laws of lists under a constraint: those of scoring all, sorting, and going through them in order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.laws.test_lists import World, margins, worlds
from tests.laws.test_ranking import tiles  # noqa: F401  # a fixture
from worker.core.lists import Lists
from worker.core.placing import Asked, Cap, Constraint, Part, placed, ranked
from worker.core.ranking import NO_ITEM, ItemTable, TopK


@dataclass(frozen=True)
class Drawn:
    """What a constraint is made from, for any number of items."""

    seed: int
    left: float
    pins: int
    caps: list[tuple[int, int]]

    def of(self, items: int) -> Constraint:
        """The constraint of a catalogue. Boosts are whole numbers, so that sums are exact and ties common."""
        random = np.random.default_rng(self.seed)
        adjust = random.integers(-1, 2, items).astype(np.float32)
        adjust[random.random(items) > self.left] = -np.inf
        pinned = random.permutation(items)[: self.pins].tolist()
        places = np.sort(random.integers(1, 12, len(pinned))).tolist()
        return Constraint(
            adjust if self.left < 1 else None,
            tuple(zip(places, pinned, strict=True)),
            tuple(
                Cap(random.integers(NO_ITEM, groups, items).astype(np.int32), at_most)
                for groups, at_most in self.caps
            ),
        )


constraints = st.builds(
    Drawn,
    seed=st.integers(0, 2**32 - 1),
    left=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    pins=st.integers(0, 4),
    caps=st.lists(st.tuples(st.sampled_from([1, 2, 5, 50]), st.integers(1, 4)), max_size=3),
)


def pins_of(constraint: Constraint, available: set[int], excluded: set[int], k: int) -> dict[int, int]:
    """The pinned items that have an effect, by their places from 0."""
    pins, following = dict[int, int](), 0
    for place, item in constraint.pins:
        at = max(place - 1, following)
        if item in available and item not in excluded and at < k:
            pins[at], following = item, at + 1
    return pins


def in_order(
    order: list[int], excluded: set[int], k: int, constraint: Constraint, available: set[int]
) -> list[int]:
    """The definition, for the items in `order`, best first."""
    pins = pins_of(constraint, available, excluded, k)
    counts = [Counter(int(cap.groups[item]) for item in pins.values()) for cap in constraint.caps]
    others = list[int]()
    for item in order:
        groups = [int(cap.groups[item]) for cap in constraint.caps]
        full = any(
            group != NO_ITEM and count[group] >= cap.at_most
            for cap, count, group in zip(constraint.caps, counts, groups, strict=True)
        )
        if item in pins.values() or item in excluded or full or len(others) + len(pins) == k:
            continue
        others.append(item)
        for count, group in zip(counts, groups, strict=True):
            count[group] += 1
    left = iter(others)
    listed = [pins[at] if at in pins else next(left, NO_ITEM) for at in range(k)]
    return [item for item in listed if item != NO_ITEM]


def expected(world: World, parts: list[Part]) -> tuple[list[list[int]], list[dict[int, float]]]:
    """The lists of the definition, and all scores."""
    of = {row: constraint or Constraint() for rows, constraint in parts for row in rows.tolist()}
    every = world.exact(world.plain, world.plain.items)
    no_one = world._replace(excluded=np.empty((len(world.hidden), 0), np.int32))
    unexcluded = no_one.exact(world.plain, world.plain.items)
    lists, all_scores = [], []
    for row in range(len(every.indexes)):
        constraint = of[row]
        adjust = np.zeros(world.plain.items) if constraint.adjust is None else constraint.adjust
        scores = dict(zip(unexcluded.indexes[row].tolist(), unexcluded.scores[row].tolist(), strict=True))
        scores = {item: score + float(adjust[item]) for item, score in scores.items()}
        left = {item for item, score in scores.items() if score > -np.inf}
        order = sorted(left, key=lambda item: (-scores[item], item))
        excluded = set(world.excluded[row].tolist())
        lists.append(in_order(order, excluded, world.k, constraint, left))
        all_scores.append(scores)
    return lists, all_scores


def shown(found: TopK) -> list[list[int]]:
    """The lists without what pads them, which is at their ends."""
    counts = (found.indexes != NO_ITEM).sum(axis=1)
    for indexes, scores, count in zip(*found, counts.tolist(), strict=True):
        assert (indexes[count:] == NO_ITEM).all()
        assert (scores[count:] == -np.inf).all()
    return [row[:count].tolist() for row, count in zip(found.indexes, counts.tolist(), strict=True)]


def asked(world: World) -> Asked:
    """What a world asks."""
    return Asked(world.hidden, world.excluded, world.recent, world.own)


@pytest.mark.usefixtures("tiles")
@given(
    worlds(exact_gains=True), st.lists(st.none() | constraints, min_size=1, max_size=4), st.integers(0, 99)
)
@examples(3)
def test_a_list_is_that_of_scoring_sorting_and_going_through_all_items(
    world: World, drawn: list[Drawn | None], seed: int
) -> None:
    """For any exclusions, boosts, pins and caps, with many ties; exactly, and by all lists of items.

    Each row has one of several constraints, or none.
    """
    which = np.random.default_rng(seed).integers(len(drawn), size=len(world.hidden))
    parts = [
        Part(np.flatnonzero(which == number), None if one is None else one.of(world.plain.items))
        for number, one in enumerate(drawn)
    ]
    lists, scores = expected(world, parts)

    tables: list[tuple[ItemTable, Lists | None]] = [
        (world.plain, None),
        (world.listed, None),
        (world.listed, Lists(world.listed, margin=1e9)),
    ]
    for table, by_lists in tables:
        found = ranked(table, by_lists, asked(world), world.k, parts)

        assert shown(found) == lists
        for row, (of, items) in enumerate(zip(scores, lists, strict=True)):
            assert found.scores[row, : len(items)].tolist() == [of[item] for item in items]


@given(worlds(), constraints, margins)
@examples(2)
def test_approximate_lists_keep_the_constraint(world: World, drawn: Drawn, margin: float) -> None:
    """They are as long as exact ones, have the same pinned items, and break no cap that pins do not break."""
    constraint = drawn.of(world.plain.items)
    parts = [Part(np.arange(len(world.hidden)), constraint)]
    exact = ranked(world.plain, None, asked(world), world.k, parts)

    found = ranked(world.listed, Lists(world.listed, margin=margin), asked(world), world.k, parts)

    adjust = np.zeros(world.plain.items) if constraint.adjust is None else constraint.adjust
    left = {*np.flatnonzero(adjust > -np.inf).tolist()}
    for near, best, excluded in zip(shown(found), shown(exact), world.excluded.tolist(), strict=True):
        items = {*pins_of(constraint, left, {*excluded}, world.k).values()}
        # A cap may leave room for another number of items if others were taken before.
        assert constraint.caps or len(near) == len(best)
        assert len(set(near)) == len(near)
        assert items <= {*near} <= left
        for cap in constraint.caps:
            counts = Counter(cap.groups[near].tolist())
            pinned = Counter(cap.groups[[one for one in near if one in items]].tolist())
            assert all(
                count <= max(cap.at_most, pinned[group]) for group, count in counts.items() if group >= 0
            )


@given(
    st.permutations(range(30)),
    st.lists(st.lists(st.integers(NO_ITEM, 29), min_size=2, max_size=2), min_size=1, max_size=3),
    st.integers(1, 12),
    constraints,
)
def test_fallback_lists_go_through_the_popular_items_in_order(
    popular: list[int], excluded: list[list[int]], k: int, drawn: Drawn
) -> None:
    """Pinned items may be others."""
    constraint = drawn.of(30)
    some = TopK(np.array([popular[:20]], np.int32), -np.arange(20, dtype=np.float32)[None])

    found = placed(some, np.array(excluded, np.int32), k, constraint)

    assert shown(found) == [in_order(popular[:20], {*row}, k, constraint, {*range(30)}) for row in excluded]
