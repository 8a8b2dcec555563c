from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.builders import gains_of_own
from trainer.config import FitSettings
from trainer.model.blend import Blend, Lessons, Priors, Terms
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes, OwnItems

ITEMS, SIZE, LAGS, OWN_CLICKS = 12, 4, 3, 8
SETTINGS = FitSettings.of(
    popularity_half_lives=(3600.0, 86400.0),
    transition_half_lives=(86400.0,),
    repeat_lags=LAGS,
    own_items=OWN_CLICKS,
)
TRUE: dict[str, Any] = {
    "network": 0.5,
    "popularity": [0.7, -0.4],
    "transitions": [0.8],
    "repeats": [1.5, -1.0, 0.5],
    "own_items": [0.9],
    "own_half_life": 4.0,
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
    own_items = OwnItems(OWN_CLICKS, TRUE["own_items"][0], TRUE["own_half_life"])
    popularity = priors.popularity @ popular
    return Terms(TRUE["network"], popularity, priors.following, transitions, repeats, own_items)


def lessons_of(random: np.random.Generator, count: int) -> Lessons:
    """Sessions of one to three clicks, some with an item twice, of users who came before; no answer yet."""
    recent = random.integers(ITEMS, size=(count, LAGS)).astype(np.int32)
    recent[random.random(count) < 0.3, 1:] = NO_ITEM
    hidden = 2 * random.normal(size=(count, SIZE)).astype(np.float32)
    own = np.concatenate([recent, random.integers(NO_ITEM, ITEMS, (count, OWN_CLICKS - LAGS))], axis=1)
    nothing = np.full((count, 1), NO_ITEM, np.int32)
    return Lessons(hidden, recent, nothing, np.zeros(count, np.int32), own.astype(np.int32))


def scores(terms: Terms, lessons: Lessons, table: Floats) -> Floats:
    """What a worker would score, one by one."""
    rows = zip(lessons.hidden, lessons.recent, lessons.own, strict=True)
    found = np.stack(
        [
            terms._replace(own_items=OwnItems()).added_to_scores(table @ hidden, _clicked(recent))
            for hidden, recent, _ in rows
        ]
    )
    for row, own in zip(found, lessons.own.tolist(), strict=True):
        for item, gain in gains_of_own(own, terms.own_items).items():
            row[item] += gain
    return found


def _clicked(recent: Indexes) -> Indexes:
    return recent[recent != NO_ITEM][::-1]


def test_learning_finds_the_weights_that_answers_were_drawn_by(random: np.random.Generator) -> None:
    """From the network alone; the scores are those that are served, else others would fit better."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    lessons = lessons_of(random, 8000)
    noise = random.gumbel(size=(8000, ITEMS))
    targets = (scores(true_terms(priors), lessons, table) + noise).argmax(axis=1).astype(np.int32)

    blend = Blend(SETTINGS, TRUE["own_half_life"])
    blend.learn(lessons._replace(targets=targets), {"embedding": table}, priors, steps=300)
    terms = blend.terms(priors)

    for name, weights in blend.weights.items():
        np.testing.assert_allclose(weights, TRUE[name], atol=0.15)
    assert blend.weights.keys() == TRUE.keys()
    assert (terms.own_items.clicks, terms.own_items.half_life) == (OWN_CLICKS, 4.0)
    assert terms.own_items.weight == pytest.approx(blend.weights["own_items"][0], abs=1e-3)


def test_losses_are_those_of_the_scores_that_are_served(random: np.random.Generator) -> None:
    """With every term: the cross-entropy of the target, however many there are."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    lessons = lessons_of(random, 300)
    lessons.targets[:] = random.integers(ITEMS, size=300)
    blend = Blend(SETTINGS, TRUE["own_half_life"])
    blend.learn(lessons, {"embedding": table}, priors, steps=20)

    found = blend.losses(lessons, {"embedding": table}, priors)

    logits = scores(blend.terms(priors), lessons, table)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(300), lessons.targets]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_clicks_of_a_session_are_the_users_own(random: np.random.Generator) -> None:
    """Golden answers have no others: an item that is clicked twice gains once, by both clicks."""
    terms = true_terms(priors_of(random))
    clicked = np.array([5, 2, 5], np.int32)
    without = terms._replace(own_items=OwnItems())

    gained = terms.added_to_scores(np.zeros(ITEMS, np.float32), clicked)
    gained -= without.added_to_scores(np.zeros(ITEMS, np.float32), clicked)

    expected = np.zeros(ITEMS)
    for item, gain in gains_of_own([5, 2, 5], terms.own_items).items():
        expected[item] = gain
    np.testing.assert_allclose(gained, expected, atol=1e-5)


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
