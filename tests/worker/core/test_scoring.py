"""The terms of scores, and similarities, against the plain formula."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

from tests.builders import ITEMS, tiny_release
from worker.core.ranking import NO_ITEM, Floats, OwnItems
from worker.core.release import Release

RNG: Final = np.random.default_rng(7)

AWAY: Final = np.full(1, -np.inf, np.float32)

BLEND: Final[dict[str, Any]] = {
    "output_bias": True,
    "transitions": 3,
    "co_occurrences": 2,
    "co_occurrence_decay": (1.0, 0.5),
    "repeat_bias": (-0.3, 0.2),
    "own_items": OwnItems(4, 0.7, 2.0, 0.1),
}

KINDS: Final[list[dict[str, Any]]] = [
    {},
    BLEND,
    {**BLEND, "lists": 3},
    {"output_bias": True, "normalize": False},
]


def _asked(release: Release, rows: int) -> dict[str, Any]:
    """States and clicks of some rows."""
    size = len(release.catalogue)
    recent = RNG.integers(NO_ITEM, size, (rows, release.recent_needed)).astype(np.int32)
    own = RNG.integers(NO_ITEM, size, (rows, release.own_needed)).astype(np.int32)
    return {"recent": recent, "own": own}


def _states(release: Release, rows: int) -> Floats:
    return RNG.normal(size=(rows, release.state_size)).astype(np.float32)


@pytest.mark.parametrize("options", KINDS, ids=["plain", "blend", "lists", "bias"])
def test_the_terms_of_a_score_add_up_to_it(options: dict[str, Any]) -> None:
    """Of an unavailable item they are those that it would have."""
    release = tiny_release(**options)
    states, clicks = _states(release, 1), _asked(release, 1)
    whole = release.rank(states, len(ITEMS), **clicks)
    release.adjust(np.array([5], np.int32), AWAY)

    terms = release.parts(states, **clicks)

    total = np.sum([*terms.values()], axis=0)
    assert total[whole.indexes[0]] == pytest.approx(whole.scores[0], abs=1e-4)
    blend = {"transition", "co_occurrence", "repeat", "own_items"}
    assert set(terms) == {"network", "popularity"} | (blend if release.recent_needed else set())


@pytest.mark.parametrize("options", KINDS, ids=["plain", "blend", "lists", "bias"])
def test_similarity_is_the_cosine_of_the_vectors(options: dict[str, Any]) -> None:
    """Whatever their order in the table; an unavailable item is as far away as can be."""
    release = tiny_release(**options)
    vectors = release.vectors / np.linalg.norm(release.vectors, axis=1, keepdims=True)
    wanted = vectors @ vectors[2]

    assert release.similarities(2) == pytest.approx(wanted, abs=1e-5)

    release.adjust(np.array([7], np.int32), AWAY)

    assert release.similarities(2)[7] == -np.inf
    assert np.delete(release.similarities(2), 7) == pytest.approx(np.delete(wanted, 7), abs=1e-5)
