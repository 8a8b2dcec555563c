from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.config import FitSettings
from trainer.model.blend import Blend, Lessons, Priors, Terms
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes

ITEMS, SIZE, LAGS = 12, 4, 3
SETTINGS = FitSettings.of(
    popularity_half_lives=(3600.0, 86400.0), transition_half_lives=(86400.0,), repeat_lags=LAGS
)
TRUE: dict[str, Any] = {
    "network": 0.5,
    "popularity": [0.7, -0.4],
    "transitions": [0.8],
    "repeats": [1.5, -1.0, 0.5],
}


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers for each test."""
    return np.random.default_rng(3)


def priors_of(random: np.random.Generator) -> Priors:
    """Some, with rows of transitions that end early."""
    following = np.stack([random.permutation(ITEMS)[:4] for _ in range(ITEMS)]).astype(np.int32)
    following[::2, 2:] = NO_ITEM
    popular, counts = random.normal(size=(ITEMS, 2)), random.exponential(size=(ITEMS, 4, 1))
    return Priors(popular.astype(np.float32), following, (counts * (following >= 0)[..., None]).astype("f4"))


def true_terms(priors: Priors) -> Terms:
    """What the `TRUE` weights make of `priors`."""
    popular, following, repeats = (
        np.array(TRUE[name], np.float32) for name in ("popularity", "transitions", "repeats")
    )
    transitions = priors.transitions @ following
    return Terms(TRUE["network"], priors.popularity @ popular, priors.following, transitions, repeats)


def lessons_of(random: np.random.Generator, count: int) -> Lessons:
    """Sessions of one to three clicks, some with an item twice, without an answer yet."""
    recent = random.integers(ITEMS, size=(count, LAGS)).astype(np.int32)
    recent[random.random(count) < 0.3, 1:] = NO_ITEM
    hidden = 2 * random.normal(size=(count, SIZE)).astype(np.float32)
    return Lessons(hidden, recent, np.full((count, 1), NO_ITEM, np.int32), np.zeros(count, np.int32), recent)


def scores(terms: Terms, lessons: Lessons, table: Floats) -> Floats:
    """What a worker would score, one by one."""
    rows = zip(lessons.hidden, lessons.recent, strict=True)
    return np.stack([terms.added_to_scores(table @ hidden, _clicked(recent)) for hidden, recent in rows])


def _clicked(recent: Indexes) -> Indexes:
    return recent[recent != NO_ITEM][::-1]


def test_learning_finds_the_weights_that_answers_were_drawn_by(random: np.random.Generator) -> None:
    """From the network alone; the scores are those that are served, else others would fit better."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    lessons = lessons_of(random, 8000)
    noise = random.gumbel(size=(8000, ITEMS))
    targets = (scores(true_terms(priors), lessons, table) + noise).argmax(axis=1).astype(np.int32)

    blend = Blend(SETTINGS)
    blend.learn(lessons._replace(targets=targets), {"embedding": table}, priors, steps=300)

    for name, weights in blend.weights.items():
        np.testing.assert_allclose(weights, TRUE[name], atol=0.15)


def test_what_cannot_be_recommended_or_is_unknown_teaches_nothing(random: np.random.Generator) -> None:
    """A target that is excluded, one that the catalogue lacks, and a session without a known item."""
    lessons = lessons_of(random, 4)
    lessons.targets[:] = [NO_ITEM, 3, 5, 7]
    lessons.excluded[1], lessons.recent[2] = 3, NO_ITEM
    blend = Blend(SETTINGS)

    assert lessons.usable().targets.tolist() == [7]
    blend.learn(lessons.only([0, 1, 2]), {}, priors_of(random), steps=3)
    assert blend.weights == Blend(SETTINGS).weights


def test_a_bias_of_the_networks_own_stays(random: np.random.Generator) -> None:
    """Times the network's factor, beside that of the popularity; transitions only where there are any."""
    priors, own = priors_of(random), random.normal(size=ITEMS).astype(np.float32)
    terms = true_terms(priors)

    added = terms.added_to({"output_bias": own})
    expected = own / 2 + priors.popularity @ [0.7, -0.4]

    np.testing.assert_allclose(added["output_bias"], expected, rtol=1e-5)
    assert added["transition_scores"].shape == (ITEMS, 4)
    none = priors._replace(following=priors.following[:, :0], transitions=priors.transitions[:, :0])
    assert "transition_items" not in true_terms(none).added_to({})
