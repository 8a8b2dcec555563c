"""Tables step and rank as the formulas say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from tests.builders import (
    ITEMS,
    Options,
    all_scores,
    step_one,
    tiny_release,
    tiny_release_parts,
)
from worker.core import ranking, tables
from worker.core.cells import CELLS
from worker.core.ranking import NO_ITEM, OwnItems
from worker.core.release import verify

OPTIONS: list[Options] = [
    {
        "cell": cell,
        "layers": layers,
        "output": output,
        "normalize": normalize,
        "output_bias": bias,
        "scale": scale,
        "embedding_size": size,
        "transitions": transitions,
        "repeat_bias": repeat_bias,
        "own_items": own_items,
        "co_occurrences": co_occurrences,
        "co_occurrence_decay": (0.5, 1.0, -2.0)[:lags],
    }
    for cell in CELLS
    for layers in (1, 2)
    for output, size in (("tied", 8), ("separate", 5))
    for normalize, scale in ((True, 16.0), (False, 1.0), (False, 0.5))
    for bias in (True, False)
    for transitions, repeat_bias, co_occurrences, lags, own_items in (
        (0, (), 0, 0, OwnItems()),
        (5, (), 0, 0, OwnItems(3, 2.0, 1.0)),
        (0, (), 5, 2, OwnItems()),
        (20, (-2.0, 0.5), 20, 3, OwnItems(6, 1.5, 4.0)),
    )
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_packed_release_serves_what_the_formulas_say(options: Options) -> None:
    """Every cell, with every kind of scores: a state stepped click by click, and all its scores."""
    manifest, blob = tiny_release_parts(**options)
    tensors: Mapping[str, Any] = load(blob)
    release = verify(manifest, blob, number=7)
    state = np.zeros(release.state_size, np.float32)
    for item in (3, 0, 3, 11):
        state = step_one(tensors, options["cell"], item, state)
    recent = [11, 3, 0, 3][: release.recent_needed]
    own = [11, 3, 0, 3, NO_ITEM, 3][: release.own_needed]

    found = release.rank(
        state[None], len(ITEMS), recent=np.array([recent], np.int32), own=np.array([own], np.int32)
    )

    expected = all_scores(
        tensors,
        state,
        recent,
        normalize=options["normalize"],
        scale=options["scale"],
        co_occurrence_decay=options["co_occurrence_decay"],
        repeat_bias=options["repeat_bias"],
        own=own,
        own_items=options["own_items"],
    )
    assert release.number == 7
    assert sorted(found.indexes[0]) == [*range(len(ITEMS))]
    np.testing.assert_allclose(found.scores[0], expected[found.indexes[0]], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_not_computed_in_advance_are_the_same(cell: str) -> None:
    """Where the catalogue is too large for it, they are computed when they are needed."""
    release, indexes = tiny_release(cell=cell, seed=3), np.array([0, 5, 5, 11], np.int32)
    in_advance = release.inputs(indexes)

    release._inputs = None

    np.testing.assert_allclose(release.inputs(indexes), in_advance, rtol=0, atol=1e-5)


def test_the_state_of_zeros_has_scores() -> None:
    """With `normalize` it cannot be brought to unit length: its scores are the bias, not NaN."""
    release = tiny_release(output="separate", output_bias=True)
    found = release.rank(np.zeros((1, 8), np.float32), 12)

    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize(
    ("transitions", "repeat_bias", "decay", "needed"),
    [
        (0, (), (), 0),
        (3, (), (), 1),
        (0, (0.5,), (), 1),
        (0, (0.5, 0.5), (1.0,), 2),
        (3, (0.5, 0.5, 0.5), (), 3),
        (3, (0.5,), (1.0, 0.5), 2),
    ],
)
def test_a_release_says_how_many_clicks_ranking_needs(
    transitions: int, repeat_bias: tuple[float, ...], decay: tuple[float, ...], needed: int
) -> None:
    """And does not rank without them: the lists would look good and be others."""
    release = tiny_release(
        transitions=transitions,
        repeat_bias=repeat_bias,
        co_occurrences=2 if decay else 0,
        co_occurrence_decay=decay,
    )
    zeros = np.zeros((2, release.state_size), np.float32)

    assert release.recent_needed == needed
    if needed:
        with pytest.raises(ValueError, match=f"the last {needed} clicks"):
            release.rank(zeros, 3)
    else:
        assert np.array_equal(
            release.rank(zeros, 3).indexes, release.rank(zeros, 3, recent=np.empty((2, 0), np.int32)).indexes
        )


def test_a_session_without_known_last_clicks_is_ranked_by_its_state_alone() -> None:
    """As one under a release that has neither transitions nor repeat bias."""
    state = np.ones((1, 8), np.float32)
    plain, blended = tiny_release(), tiny_release(transitions=3, repeat_bias=(0.5, 0.5))

    found = blended.rank(state, 12, recent=np.full((1, 2), NO_ITEM, np.int32))

    assert found.indexes.tolist() == plain.rank(state, 12).indexes.tolist()


@pytest.mark.parametrize("options", [{}, {"lists": 4}, {"normalize": False, "output_bias": True, "lists": 3}])
def test_vectors_are_laid_out_in_parts_as_at_once(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit."""
    whole = tiny_release(**options)
    monkeypatch.setattr(ranking, "_LAID_OUT", 5)
    parts = tiny_release(**options)
    states = np.random.default_rng(0).standard_normal((6, whole.state_size), np.float32)

    np.testing.assert_array_equal(whole.vectors, parts.vectors)
    for one, other in zip(whole.rank(states, 12), parts.rank(states, 12), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_of_a_large_catalogue_are_computed_when_asked_for(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the same, and the tables are smaller."""
    indexes = np.array([3, 0, 3, 11], np.int32)
    before = tiny_release(cell=cell)
    monkeypatch.setattr(tables, "MAX_INPUTS_BYTES", before.inputs(np.arange(12, dtype=np.int32)).nbytes - 1)
    computed = tiny_release(cell=cell)

    np.testing.assert_allclose(computed.inputs(indexes), before.inputs(indexes), rtol=1e-5, atol=1e-6)
    assert before.table_bytes - computed.table_bytes == before.inputs(np.arange(12, dtype=np.int32)).nbytes
