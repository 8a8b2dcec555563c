"""Laws of ranking: the fast search finds what sorting everything finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import gains_of_own
from tests.examples import examples
from worker.core import ranking, search
from worker.core.ranking import (
    NO_ITEM,
    Floats,
    Indexes,
    ItemRows,
    ItemTable,
    OwnItems,
    own_gains,
    top_k,
)

# Around the sizes at which the number of groups, their depth or their padding changes.
sizes = st.integers(1, 300) | st.sampled_from(
    [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 1000, 1023, 4097]
)


@pytest.fixture(params=["whole", "tiled"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As small catalogues are ranked; or as large ones, with tiles so small that there are many."""
    if request.param == "tiled":
        monkeypatch.setattr(ranking, "WHOLE", 0)
        monkeypatch.setattr(ranking, "_TILE_ROWS", 4)
        monkeypatch.setattr(ranking, "_TILE_STEP", search.DEPTH)
        monkeypatch.setattr(ranking, "_TILE_SCORES", 8 * search.DEPTH)


def sorted_out(scores: Floats, excluded: Indexes, k: int) -> tuple[list[int], list[float]]:
    """The definition: everything not excluded, sorted by falling score and rising index."""
    left = [item for item in range(len(scores)) if item not in excluded.tolist()]
    best = sorted(left, key=lambda item: (-scores[item], item))[:k]
    unused = k - len(best)
    return best + [NO_ITEM] * unused, [float(scores[item]) for item in best] + [-np.inf] * unused


def rows_of(random: np.random.Generator, items: int, most: int) -> ItemRows | None:
    """For every item up to `most` others and small whole numbers, in any of the places."""
    if not most:
        return None
    followers = np.array([random.permutation(items + most)[:most] for _ in range(items)], np.int32)
    followers[followers >= items] = NO_ITEM
    return ItemRows(followers, random.integers(-3, 4, followers.shape).astype(np.float32))


class Gains(NamedTuple):
    """All that is added to scores for clicks."""

    transitions: ItemRows | None
    co_occurrences: ItemRows | None
    decay: list[float]
    repeat_bias: list[float]


def with_gains(scores: Floats, recent: Indexes, gains: Gains) -> Floats:
    """The definition: the scores of one user and all that is added for the clicks `recent`, one by one."""
    scores = scores.copy()
    rows = [(gains.transitions, click, 1.0) for click in recent[:1]]
    rows += [(gains.co_occurrences, *one) for one in zip(recent, gains.decay, strict=False)]
    for table, click, factor in rows:
        if table is not None and click != NO_ITEM:
            for item, gain in zip(table.items[click], table.scores[click], strict=True):
                if item != NO_ITEM:
                    scores[item] += gain * factor
    for item, gain in zip(recent, gains.repeat_bias, strict=False):
        if item != NO_ITEM:
            scores[item] += gain
    return scores


@pytest.mark.usefixtures("tiles")
@given(
    items=sizes,
    rows=st.integers(1, 8) | st.just(70),
    spread=st.sampled_from([0, 1, 2, 1000]),
    hidden_size=st.integers(1, 3),
    k=st.integers(1, 40) | st.just(500),
    exclude=st.integers(0, 4),
    with_bias=st.booleans(),
    most=st.sampled_from([0, 1, 7, 50]),
    near=st.sampled_from([0, 1, 7, 50]),
    faded=st.sampled_from([1, 3, 10]),
    lags=st.sampled_from([0, 1, 3, 20]),
    own_clicks=st.sampled_from([0, 1, 5, 64]),
    seed=st.integers(0, 2**32 - 1),
)
@examples(2)
def test_the_top_k_are_those_of_a_stable_sort(
    *,
    items: int,
    rows: int,
    spread: int,
    hidden_size: int,
    k: int,
    exclude: int,
    with_bias: bool,
    most: int,
    near: int,
    faded: int,
    lags: int,
    own_clicks: int,
    seed: int,
) -> None:
    """For any catalogue, any K, any exclusions, ties of any number, and all that clicks add.

    Vectors of small integers make equal scores common and products exact, so no rounding is forgiven.
    """
    random = np.random.default_rng(seed)
    vectors = random.integers(-spread, spread + 1, (items, hidden_size)).astype(np.float32)
    hidden = random.integers(-2, 3, (rows, hidden_size)).astype(np.float32)
    bias = random.integers(-1, 2, items).astype(np.float32) if with_bias else None
    excluded = random.integers(NO_ITEM, items, (rows, exclude)).astype(np.int32)
    transitions, co_occurrences = (rows_of(random, items, entries) for entries in (most, near))
    decay, repeat_bias = (random.integers(-2, 3, count).tolist() for count in (faded, lags))
    gains, term = Gains(transitions, co_occurrences, decay, repeat_bias), OwnItems(own_clicks, 1.5, 2.0, 0.75)
    table = ItemTable(
        vectors,
        bias,
        transitions=gains.transitions,
        co_occurrences=gains.co_occurrences,
        co_occurrence_decay=gains.decay,
        repeat_bias=gains.repeat_bias,
        own_items=term,
    )
    # From few items, so that some come twice.
    recent, own = (
        random.integers(NO_ITEM, min(items, 4), (rows, needed)).astype(np.int32)
        for needed in (table.recent_needed, table.own_needed)
    )
    scores = hidden @ vectors.T + (0 if bias is None else bias)
    gained = [with_gains(*row, gains) for row in zip(scores, recent, strict=True)]
    for row, clicked in zip(gained, own, strict=True):
        _, gaining, added = own_gains(clicked[None], term)
        row[gaining] += added

    found = top_k(
        hidden,
        table,
        k,
        excluded if exclude else None,
        recent if recent.size else None,
        own=own if own.size else None,
    )

    expected = [sorted_out(*row, k) for row in zip(gained, excluded, strict=True)]
    assert found.indexes.tolist() == [indexes for indexes, _ in expected]
    assert found.scores.tolist() == [best for _, best in expected]


@given(
    clicked=st.lists(st.lists(st.integers(NO_ITEM, 5), min_size=7, max_size=7), max_size=5),
    weight=st.floats(-3, 3),
    half_life=st.floats(0.1, 100),
)
def test_own_items_gain_by_their_decayed_count(
    clicked: list[list[int]], weight: float, half_life: float
) -> None:
    """As the formula says, added up click by click; in no row does it matter what is in the others."""
    term, own = OwnItems(7, weight, half_life), np.array(clicked, np.int32).reshape(-1, 7)
    rows, items, gains = own_gains(own, term)
    found: list[dict[int, float]] = [{} for _ in clicked]
    for row, item, gain in zip(rows.tolist(), items.tolist(), gains.tolist(), strict=True):
        found[row][item] = gain

    assert len(rows) == sum(map(len, found))
    assert found == [pytest.approx(gains_of_own(one, term), abs=1e-5, rel=1e-5) for one in clicked]
    for row, one in enumerate(own):
        alone = own_gains(one[None], term)
        assert dict(zip(alone.items.tolist(), alone.gains.tolist(), strict=True)) == found[row]


@pytest.mark.usefixtures("tiles")
@given(items=sizes, rows=st.integers(1, 5), k=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_different_scores_are_found_in_order(items: int, rows: int, k: int, seed: int) -> None:
    """Without ties the search looks into K groups only: they hold all that belongs in the list."""
    random = np.random.default_rng(seed)
    vectors = (random.permutation(items) - items // 2).astype(np.float32)[:, None]
    hidden = random.choice(np.array([-3, -1, 1, 2], np.float32), (rows, 1))

    found = top_k(hidden, ItemTable(vectors), k)

    expected = [sorted_out(row, np.empty(0, np.int32), k) for row in hidden * vectors.T]
    assert found.indexes.tolist() == [indexes for indexes, _ in expected]


@given(
    st.lists(st.floats(allow_nan=False, width=32) | st.sampled_from([0.0, -0.0, np.inf, -np.inf]), min_size=1)
)
def test_the_keys_of_the_search_order_as_scores_do(scores: list[float]) -> None:
    """The greater key has the greater score; of equal ones, as 0 and -0 are, the lower column."""
    single = np.array(scores, np.float32)

    keys = search.keys(single, np.arange(len(scores)))

    assert np.argsort(-keys).tolist() == np.argsort(-single, kind="stable").tolist()
