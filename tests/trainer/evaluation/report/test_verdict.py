"""The sentences of a verdict, for each case; they say no more than the intervals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import ITEMS, successor_release_parts
from trainer.evaluation.benchmark import BASELINES, NETWORK
from trainer.evaluation.metrics import Figure
from trainer.evaluation.report.baselines import MODELS
from trainer.evaluation.report.verdict import ABOVE, BELOW, LEVEL, UNKNOWN, Verdict, verdict
from trainer.evaluation.slices import EvaluationResult, Slice
from worker.core.manifest import Manifest

RECALL = "recall_at_20"


def manifest(training: dict[str, Any] | None = None) -> Manifest:
    """Return the manifest of a release that says this of its training."""
    return replace(successor_release_parts(ITEMS)[0], training=training or {})


def result(own: Figure, slices: dict[str, Slice] | None = None, **others: Figure) -> EvaluationResult:
    """Return figures of the release and of other models, named with _ for -, on 1,000 predictions."""
    models = {NETWORK: {RECALL: own}}
    models |= {name.replace("_", "-"): {RECALL: figure} for name, figure in others.items()}
    return EvaluationResult(top=20, sessions=600, predictions=1_000, models=models, slices=slices or {})


def judged(low: float, high: float) -> Verdict:
    """Return the verdict on a release whose lead over VS-kNN has this paired interval."""
    ahead = (low + high) / 2
    own = Figure(0.2 + ahead, 0.1, 0.3)
    found = result(own, popular=Figure(0.12, 0.1, 0.14), vs_knn=Figure(0.2, 0.1, 0.3))
    leads = {"popular": {RECALL: Figure(0.08, 0.07, 0.09)}, "vs-knn": {RECALL: Figure(ahead, low, high)}}
    return verdict(manifest(), replace(found, leads=leads))


def test_a_release_above_is_to_be_tried_on_live_users() -> None:
    """The paired interval decides, although the two intervals overlap."""
    found = judged(0.01, 0.05)

    assert found.outcome == ABOVE
    assert found.headline == "Better than the simple methods: try it on live users"
    assert found.shares == "Of 100 next clicks, this release predicted 23; a bestseller list 12; VS-kNN 20."
    assert found.judgement == (
        "It is better than VS-kNN, the best simple method here, by 3.0 percentage points. "
        "The difference is statistically significant."
    )
    assert "nextclick-trainer publish --candidate" in found.next_step
    assert found.details == [
        (
            "In 23.0 % of 1,000 held-out cases the next click was among the 20 recommended items "
            "(95 % interval 10.0 % to 30.0 %)."
        ),
        "Lead over VS-kNN: +3.00 percentage points (95 % interval +1.00 to +5.00).",
    ]


def test_a_difference_that_may_be_chance_is_none() -> None:
    """It is not preferred, and not called worse."""
    found = judged(-0.02, 0.03)

    assert found.outcome == LEVEL
    assert found.judgement == (
        "Do not use this release yet: its difference from VS-kNN (0.5 percentage points) is "
        "not statistically significant."
    )
    assert found.next_step == (
        "Train on more clicks, or search for better settings with `nextclick-trainer tune`. "
        "Then create this report again."
    )


def test_a_release_below_is_not_preferred() -> None:
    """The sentence names the method that is ahead."""
    found = judged(-0.03, -0.01)

    assert found.outcome == BELOW
    assert found.shares == "Of 100 next clicks, this release predicted 18; a bestseller list 12; VS-kNN 20."
    assert found.judgement == (
        "Do not use this release yet: VS-kNN, a much simpler method, is better by "
        "2.0 percentage points. The difference is statistically significant."
    )


@pytest.mark.parametrize(
    ("own", "outcome"),
    [((0.3, 0.28, 0.32), ABOVE), ((0.2, 0.18, 0.22), LEVEL), ((0.1, 0.08, 0.12), BELOW)],
)
def test_without_paired_intervals_those_of_the_models_decide(
    own: tuple[float, float, float], outcome: str
) -> None:
    """Where they meet, nothing is said to be better."""
    found = verdict(manifest(), result(Figure(*own), markov=Figure(0.19, 0.17, 0.21)))

    assert found.outcome == outcome


def test_nothing_is_proven_without_intervals_or_without_another_model() -> None:
    """The verdict says what is missing."""
    bare = verdict(manifest(), result(Figure(0.3), markov=Figure(0.2)))
    alone = verdict(manifest(), result(Figure(0.3, 0.2, 0.4)))

    assert (bare.outcome, alone.outcome) == (UNKNOWN, UNKNOWN)
    assert bare.judgement.endswith("the difference from a Markov chain may be chance.")
    assert alone.judgement.startswith("No simple method was measured")
    assert "--split-at" in alone.next_step


def test_figures_on_clicks_of_the_training_prove_nothing() -> None:
    """However good they are."""
    figures = result(Figure(0.9, 0.88, 0.92), markov=Figure(0.2, 0.18, 0.22))

    found = verdict(manifest(), figures, caution="Careful: it has seen them.")

    assert found.outcome == UNKNOWN
    assert found.headline == "Inconclusive: do not base a decision on these results"
    assert "newer clicks" in found.next_step


def test_shares_are_told_of_as_many_clicks_as_tell_them_apart() -> None:
    """A small share is not 0 of 100, and two shares that differ are not the same number."""
    small = verdict(manifest(), result(Figure(0.004, 0.003, 0.005), popular=Figure(0.002, 0.001, 0.003)))
    near = verdict(manifest(), result(Figure(0.183, 0.1, 0.2), popular=Figure(0.181, 0.1, 0.2)))

    assert small.shares == "Of 1,000 next clicks, this release predicted 4; a bestseller list 2."
    assert near.shares == "Of 1,000 next clicks, this release predicted 183; a bestseller list 181."


def test_the_likely_causes_are_those_that_the_figures_show() -> None:
    """Each with a remedy; the first one's is the next step."""
    training = {
        "cleaning": [{"removed": 910, "left": 90, "what": "sessions", "why": "of one click"}],
        "clicks": 7 * len(ITEMS),
        "epochs": [{"mrr_at_20": 0.1}, {"mrr_at_20": 0.2}],
    }
    slices = {
        "1 click before": Slice(800, models_of()),
        "targets not in the catalogue": Slice(220, models_of()),
    }
    figures = result(Figure(0.1, 0.08, 0.12), slices, markov=Figure(0.11, 0.09, 0.13))

    found = verdict(manifest(training), replace(figures, sessions=300))

    assert found.causes == [
        "91% of the training sessions have one click, so they have no next click.",
        (
            "80% of the next clicks follow a single click, but the advantage of a network comes from "
            "longer histories."
        ),
        "22% of the next clicks are on items outside the catalogue of the release.",
        "Items have only 7 training clicks on average, too few to learn much about them.",
        "The last of 2 training epochs was the best: the training stopped too early.",
        "Only 300 sessions were evaluated, so the results are imprecise.",
    ]
    assert "Only" not in str(judged(-0.03, -0.01).causes)
    assert found.next_step.startswith("Check that the user field identifies a person or a visit")


def models_of(own: float = 0.0, other: float = 0.0) -> dict[str, dict[str, Figure]]:
    """Return the figures of two models on a slice, each with a narrow interval."""
    return {
        name: {RECALL: Figure(value, value - 0.01, value + 0.01)}
        for name, value in ((NETWORK, own), ("markov", other))
    }


def test_the_weakest_part_is_one_where_a_list_could_have_been_right() -> None:
    """Items outside the catalogue are in nobody's list; small parts say nothing."""
    slices = {
        "rare targets": Slice(200, models_of(0.05, 0.1)),
        "targets not in the catalogue": Slice(200, models_of()),
        "1 click before": Slice(3, models_of(0.01, 0.1)),
    }
    figures = result(Figure(0.3, 0.28, 0.32), slices, markov=Figure(0.2, 0.18, 0.22))

    assert verdict(manifest(), figures).details[2:] == [
        "It is weakest on next clicks on rare items: it predicted 5.0 % of 200.",
        "A simple method is better on next clicks on rare items (a Markov chain).",
    ]


def test_every_model_has_a_name_and_a_line() -> None:
    """No baseline of `evaluate` is left without an explanation."""
    assert list(MODELS) == [NETWORK, *BASELINES]
