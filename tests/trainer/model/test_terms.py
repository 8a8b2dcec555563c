from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.config import FitSettings
from trainer.dataset.decayed_counts import Past
from trainer.model.terms import CO_OCCURRENCE_DECAY, UNPOPULAR, Terms, priors_at
from worker.core.ranking import NO_ITEM, OwnItems


def terms_with(**changed: Any) -> Terms:
    """Return terms of zeros over three items, with changes."""
    nothing = np.full((3, 1), NO_ITEM, np.int32)
    zeros = np.zeros((3, 1), np.float32)
    known: dict[str, Any] = {
        "network": 1.0,
        "output_bias": zeros[:, 0],
        "transition_items": nothing,
        "transition_scores": zeros,
        "co_occurrence_items": nothing,
        "co_occurrence_scores": zeros,
        "repeat_bias": np.zeros(2, np.float32),
    }
    return Terms(**{**known, **changed})


def test_a_term_of_zeros_is_not_in_a_release() -> None:
    """It would cost every ranking something."""
    rows = {"items": np.array([[1], [2], [0]], np.int32), "scores": np.ones((3, 1), np.float32)}
    near = terms_with(**{f"co_occurrence_{name}": value for name, value in rows.items()})

    assert terms_with().added_to({}) == {}
    assert terms_with().manifest == {
        "co_occurrence_decay": [],
        "repeat_bias": [],
        "own_items": OwnItems(),
    }
    assert near.added_to({}).keys() == {"co_occurrence_items", "co_occurrence_scores"}
    assert near.manifest["co_occurrence_decay"] == [*CO_OCCURRENCE_DECAY]


def test_each_last_click_gives_its_near_items_less_than_the_one_after_it() -> None:
    """Clicks before these give nothing; the factor of the network does not apply."""
    terms = terms_with(
        network=2.0,
        co_occurrence_items=np.array([[1], [2], [0]], np.int32),
        co_occurrence_scores=np.array([[6.0], [12.0], [24.0]], np.float32),
    )

    scores = terms.added_to_scores(np.ones(3, np.float32), np.array([2, 2, 1, 0], np.int32))

    # The last click, on 0, gives 1 all of its 6; the one before, on 1, gives 2 half of its 12; and so on.
    assert scores.tolist() == pytest.approx([2 + 24 / 3, 2 + 6, 2 + 12 / 2])


def test_priors_are_logarithms_of_counts() -> None:
    """An item without clicks has a finite one; what is switched off has no entries."""
    sessions = sessions_of([0, 1])
    past = Past.of(type(sessions)(sessions.items, sessions.starts, sessions.scored, np.zeros(2, np.int64)))
    settings = FitSettings.of(popularity_half_lives=(3600.0,), transition_half_lives=(), co_occurrences=0)

    priors = priors_at(past, 1, settings, items=3)

    assert priors.popularity[:, 0].tolist() == pytest.approx([math.log(1.1)] * 2 + [UNPOPULAR], abs=1e-5)
    assert (priors.following.shape, priors.near.shape) == ((3, 0), (3, 0))
