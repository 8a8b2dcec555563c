from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.builders import gains_of_own
from trainer.config import FitSettings
from trainer.model.blend import Blend
from trainer.model.compared import Lessons
from trainer.model.negatives import Negatives
from trainer.model.terms import OWN_HALF_LIFE, RECENT, Priors, Terms
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, OWN_UNIT, Indexes, OwnItems

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
    "co_occurrences": [0.6],
    "repeats": [1.5, 0.6, 0.45],
    "own_items": [0.4, 0.9],
}


@pytest.fixture
def random() -> np.random.Generator:
    """The same numbers for each test."""
    return np.random.default_rng(1)


def priors_of(random: np.random.Generator) -> Priors:
    """Some, with rows that end early."""
    tables = []
    for _ in range(2):
        items = np.stack([random.permutation(ITEMS)[:4] for _ in range(ITEMS)]).astype(np.int32)
        items[::2, 2:] = NO_ITEM
        tables += [items, (random.exponential(size=(ITEMS, 4)) * (items != NO_ITEM)).astype(np.float32)]
    following, transitions, near, co_occurrences = tables
    popular = random.normal(size=(ITEMS, 2)).astype(np.float32)
    return Priors(popular, following, transitions[..., None], near, co_occurrences)


def true_terms(priors: Priors) -> Terms:
    """What the `TRUE` weights make of `priors`."""
    popular, following, near, repeats, own = (np.array(TRUE[name], np.float32) for name in [*TRUE][1:])
    transitions = priors.transitions @ following
    return Terms(
        TRUE["network"],
        priors.popularity @ popular,
        priors.following,
        transitions,
        priors.near,
        priors.co_occurrences * near,
        repeats,
        OwnItems(OWN_CLICKS, float(own[1]), OWN_HALF_LIFE, float(own[0])),
    )


def lessons_of(random: np.random.Generator, count: int) -> Lessons:
    """Sessions of one to three clicks, some with an item twice, of users who came before; no answer yet."""
    recent = random.integers(ITEMS, size=(count, max(RECENT, LAGS))).astype(np.int32)
    recent[random.random(count) < 0.3, 1:] = NO_ITEM
    hidden = 2 * random.normal(size=(count, SIZE)).astype(np.float32)
    earlier = random.integers(NO_ITEM, ITEMS, (count, OWN_CLICKS - recent.shape[1]))
    own = np.concatenate([recent, earlier], axis=1).astype(np.int32)
    nothing = np.full((count, 1), NO_ITEM, np.int32)
    return Lessons(hidden, recent, nothing, np.zeros(count, np.int32), own, own[:, :0])


def scores(terms: Terms, lessons: Lessons, table: Floats) -> Floats:
    """What a worker would score, one by one."""
    session = terms._replace(own_items=OwnItems())
    rows = zip(lessons.hidden, lessons.recent, strict=True)
    found = np.stack([session.added_to_scores(table @ hidden, _clicked(recent)) for hidden, recent in rows])
    for row, own in zip(found, lessons.own.tolist(), strict=True):
        for item, gain in gains_of_own(own, terms.own_items).items():
            row[item] += gain
    return found


def _clicked(recent: Indexes) -> Indexes:
    return recent[recent != NO_ITEM][::-1]


def drawn(random: np.random.Generator, terms: Terms, count: int, table: Floats) -> Lessons:
    """Lessons whose answers are drawn by the scores of `terms`, those that are served."""
    lessons = lessons_of(random, count)
    noise = random.gumbel(size=(count, ITEMS))
    targets = (scores(terms, lessons, table) + noise).argmax(axis=1).astype(np.int32)
    return lessons._replace(targets=targets)


def test_learning_finds_the_weights_that_answers_were_drawn_by(random: np.random.Generator) -> None:
    """From the network alone; the scores are those that are served, else others would fit better."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)

    blend = Blend(SETTINGS)
    blend.learn(drawn(random, true_terms(priors), 8000, table), {"embedding": table}, priors, steps=300)

    found = blend.weights
    assert found.keys() == TRUE.keys()
    # Most own items were clicked once, so only the sum of their two weights is sure.
    own = [
        bonus + weight * math.log1p(1 / OWN_UNIT) for bonus, weight in (found["own_items"], TRUE["own_items"])
    ]
    assert own[0] == pytest.approx(own[1], abs=0.15)
    for name in TRUE.keys() - {"own_items"}:
        np.testing.assert_allclose(found[name], TRUE[name], atol=0.15)


def test_candidates_give_the_weights_of_all_items(random: np.random.Generator) -> None:
    """Sampled items stand for the others; every item that gains is there."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    lessons = drawn(random, true_terms(priors), 4000, table)
    negatives = Negatives(np.ones(ITEMS, np.int64), size=4, power=1.0, uniform=0.5)

    found = []
    for sampled in (None, negatives):
        blend = Blend(SETTINGS)
        blend.learn(lessons, {"embedding": table}, priors, steps=100, negatives=sampled)
        found.append(blend.weights)

    for name in TRUE:
        np.testing.assert_allclose(found[0][name], found[1][name], atol=0.15)


def test_the_clicks_of_a_session_are_the_users_own(random: np.random.Generator) -> None:
    """Golden answers have no others: an item that is clicked twice gains once, by both clicks."""
    terms, nothing = true_terms(priors_of(random)), np.zeros(ITEMS, np.float32)
    clicked = np.array([5, 2, 5], np.int32)
    without = terms._replace(own_items=OwnItems())

    gained = terms.added_to_scores(nothing, clicked) - without.added_to_scores(nothing, clicked)

    expected = np.zeros(ITEMS)
    for item, gain in gains_of_own([5, 2, 5], terms.own_items).items():
        expected[item] = gain
    np.testing.assert_allclose(gained, expected, atol=1e-5)


def test_users_who_never_return_have_the_term_too(random: np.random.Generator) -> None:
    """What they clicked is unlikely to come again, so its weight is negative: that helps as much."""
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    true = true_terms(priors)._replace(own_items=OwnItems(OWN_CLICKS, -1.0, OWN_HALF_LIFE))

    blend = Blend(SETTINGS)
    lessons, half = drawn(random, true, 6000, table), random.random(6000) < 0.5
    blend.choose(lessons, half, {"embedding": table}, priors, steps=300)

    found = blend.terms(priors).own_items
    assert (found.clicks, found.half_life) == (OWN_CLICKS, OWN_HALF_LIFE)
    once = math.log1p(1 / OWN_UNIT)
    assert found.bonus + found.weight * once == pytest.approx(-once, abs=0.5)


@pytest.mark.parametrize(
    "without",
    [(), ("own_items",), ("popularity", "repeats"), ("transitions", "co_occurrences", "own_items")],
    ids=str,
)
def test_a_term_that_does_not_help_is_left_out_by_itself(
    random: np.random.Generator, without: tuple[str, ...]
) -> None:
    """And no other is; neither the manifest nor the release has a trace of it.

    With one seed in twenty, a term without use is kept by chance: `_SURE` is a test at 5 %.
    """
    priors, table = priors_of(random), random.normal(size=(ITEMS, SIZE)).astype(np.float32)
    names = {
        "popularity": "output_bias",
        "transitions": "transition_scores",
        "co_occurrences": "co_occurrence_scores",
        "repeats": "repeat_bias",
    }
    true = true_terms(priors)
    true = true._replace(**{names[name]: 0 * getattr(true, names[name]) for name in without if name in names})
    if "own_items" in without:
        true = true._replace(own_items=OwnItems())

    blend = Blend(SETTINGS)
    lessons, half = drawn(random, true, 6000, table), random.random(6000) < 0.5
    blend.choose(lessons, half, {"embedding": table}, priors, steps=120)
    released = blend.terms(priors)

    assert {name for name, weights in blend.weights.items() if not weights} == {*without}
    assert {*names, "own_items"} - {*blend.used} == {*without}
    assert released.own_items.clicks == (OWN_CLICKS if "own_items" in blend.used else 0)
    tensors = released.added_to({"embedding": table})
    assert {name for name in names.values() if name in tensors or released.manifest.get(name)} == {
        names[name] for name in blend.used if name in names
    }
    assert bool(released.manifest["co_occurrence_decay"]) == ("co_occurrences" in blend.used)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_lessons_make_no_blend(random: np.random.Generator, count: int) -> None:
    """With one half empty nothing can be compared, and what is learned would be noise."""
    lessons, half = lessons_of(random, count), np.zeros(count, np.bool_)
    table = random.normal(size=(ITEMS, SIZE)).astype(np.float32)

    blend = Blend(SETTINGS)
    blend.choose(lessons, half, {"embedding": table}, priors_of(random), steps=2)

    assert blend.used == ()


@pytest.mark.parametrize("left_out", [None, "co_occurrences", "repeats", "own_items"])
def test_a_blend_of_known_weights_gives_their_terms(
    random: np.random.Generator, left_out: str | None
) -> None:
    """As a manifest has them; a term without weights is left out."""
    priors, weights = priors_of(random), {**TRUE, **({left_out: []} if left_out else {})}

    blend = Blend.of(SETTINGS, weights)
    terms, true = blend.terms(priors), true_terms(priors)

    assert blend.weights == {name: pytest.approx(weight, abs=1e-4) for name, weight in weights.items()}
    assert left_out not in blend.used
    assert terms.output_bias == pytest.approx(true.output_bias, abs=1e-5)
    assert terms.transition_scores == pytest.approx(true.transition_scores, abs=1e-5)
    near = 0 * true.co_occurrence_scores if left_out == "co_occurrences" else true.co_occurrence_scores
    assert terms.co_occurrence_scores == pytest.approx(near, abs=1e-5)


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


MANY = 20
CURVED = FitSettings.of(
    popularity_half_lives=(), transition_half_lives=(), co_occurrences=0, repeat_lags=MANY
)


def repeated(random: np.random.Generator, true: Floats, count: int) -> tuple[Lessons, Priors, Floats]:
    """Lessons of long sessions on many items, answered by chance and by the `true` repeat weights."""
    items = 200
    recent = np.stack([random.permutation(items)[:MANY] for _ in range(count)]).astype(np.int32)
    logits = random.gumbel(size=(count, items))
    np.put_along_axis(logits, recent, np.take_along_axis(logits, recent, axis=1) + true, axis=1)
    nothing = np.full((count, 1), NO_ITEM, np.int32)
    hidden = np.zeros((count, SIZE), np.float32)
    lessons = Lessons(hidden, recent, nothing, logits.argmax(axis=1).astype(np.int32), *2 * [recent[:, :0]])
    rows = np.full((items, 0), NO_ITEM, np.int32)
    priors = Priors(
        *(np.zeros((items, 0), np.float32), rows, np.zeros((items, 0, 0), np.float32)), rows, 1.0 * rows
    )
    return lessons, priors, np.zeros((items, SIZE), np.float32)


def test_repeat_weights_of_far_lags_are_no_noise(random: np.random.Generator) -> None:
    """From few lessons, in which each far lag was clicked once or twice, they stay near their true 0."""
    true = np.zeros(MANY, np.float32)
    true[0] = 2.0
    lessons, priors, table = repeated(random, true, 300)

    blend = Blend(CURVED)
    blend.learn(lessons, {"embedding": table}, priors, steps=100)

    assert np.abs(blend.weights["repeats"][10:]).max() < 0.4


@pytest.mark.parametrize("half_life", [1.0, 3.0, 1e9])
def test_the_true_repeat_curve_is_found_from_many_lessons(
    random: np.random.Generator, half_life: float
) -> None:
    """Whether it fades soon, late or never."""
    true = (2.5 * 0.5 ** (np.arange(MANY) / half_life)).astype(np.float32)
    lessons, priors, table = repeated(random, true, 20_000)

    blend = Blend(CURVED)
    blend.learn(lessons, {"embedding": table}, priors, steps=300)

    np.testing.assert_allclose(blend.weights["repeats"], true, atol=0.3)
