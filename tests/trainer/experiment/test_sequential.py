from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.trainer.simulated import LARGE, SHOPS, Shop, outcomes, sums, tally
from trainer.experiment.sequential import Experiment, Rules, Verdict, evidence
from worker.core.quality import BUCKETS

RULES: Final = Rules()
TRIALS: Final = 40
LOOKS: Final = 300

# If 5 % of all A/A trials were decided, more than 29 of 280 would be with a probability below 1e-4.
MOST_DECIDED: Final = 29


def peeking(shop: Shop, *, seed: int) -> int:
    """How many of the same A/A trials the usual test, for one look at independent clicks, would decide."""
    random, decided = np.random.default_rng(seed), 0
    for _ in range(TRIALS):
        clicks, hits = (one.sum(axis=-1) for one in sums(random, shop, looks=LOOKS))
        clicks, hits = (one[clicks.min(axis=-1) >= RULES.min_clicks] for one in (clicks, hits))
        rate = hits.sum(axis=-1) / clicks.sum(axis=-1)
        error = np.sqrt(rate * (1 - rate) * (1 / clicks).sum(axis=-1))
        decided += bool((np.abs(np.diff(hits / clicks)[:, 0]) > 1.96 * error).any())
    return decided


def test_no_difference_is_rarely_taken_for_one() -> None:
    """A/A trials of all kinds of shops, looked at after every report: at most alpha are decided."""
    decided = [outcomes(shop, RULES, trials=TRIALS, looks=LOOKS, seed=7).decided for shop in SHOPS]

    assert TRIALS * sum(decided) <= MOST_DECIDED


def test_the_simulation_finds_out_a_test_that_is_not_valid() -> None:
    """Looking after every report with the test for one look decides far more of the same trials."""
    decided = sum(peeking(shop, seed=7) for shop in SHOPS)

    assert decided > 3 * MOST_DECIDED


@pytest.mark.parametrize("shop", SHOPS)
def test_a_candidate_that_knows_nothing_is_dropped(shop: Shop) -> None:
    """Where there are enough users, each time; and never is it taken for a better one."""
    found = outcomes(shop, RULES, trials=20, looks=LOOKS, change=0.05)

    assert found.sign.max() < 1
    assert shop.users < 3_000 or found.sign.tolist() == [-1] * 20


def test_a_better_candidate_is_promoted() -> None:
    """A fifth more hits, among a hundred thousand users."""
    found = outcomes(LARGE, RULES, trials=20, looks=LOOKS, change=1.2)

    assert found.sign.tolist() == [1] * 20


@pytest.mark.parametrize("change", [0.97, 1.03])
def test_a_small_difference_is_not_taken_for_its_opposite(change: float) -> None:
    """It may stay undecided; wrong decisions are as rare as those without a difference."""
    found = outcomes(SHOPS[0], RULES, trials=TRIALS, looks=LOOKS, change=change)

    assert (found.sign == np.sign(1 - change)).sum() <= MOST_DECIDED // 5


counts = arrays.arrays(np.int64, (2, BUCKETS), elements=st.integers(0, 2_000))


@given(counts, st.data())
def test_the_interval_leaves_zero_out_where_p_is_significant(clicks: np.ndarray, data: st.DataObject) -> None:
    """And only there; the figures are numbers, whatever was counted."""
    hits = np.array(
        data.draw(arrays.arrays(np.float64, (2, BUCKETS), elements=st.floats(0, 1))) * clicks, np.int64
    )
    found = evidence(clicks, hits, replace(RULES, min_clicks=1, min_buckets=2))

    assert 0 <= found.p <= 1
    assert -1 <= found.low <= found.high <= 1
    assert (found.low > 0 or found.high < 0) == (found.p < RULES.alpha)
    if found.enough:
        assert found.low <= found.difference <= found.high


@given(counts)
def test_which_arm_is_called_what_changes_the_sign_alone(clicks: np.ndarray) -> None:
    """The test favours neither."""
    hits = clicks // np.array([[3], [4]])
    one, other = (evidence(clicks[order], hits[order], RULES) for order in ([0, 1], [1, 0]))

    assert one.p == pytest.approx(other.p)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_the_jackknife_is_what_leaving_out_gives() -> None:
    """The interval's width, against rates that are computed anew without each bucket."""
    random = np.random.default_rng(3)
    clicks = np.full((2, BUCKETS), 50)
    hits = random.binomial(clicks, random.beta(1, 3, (2, BUCKETS)))
    left_out = [(hits.sum(1) - hits[:, b]) / (clicks.sum(1) - clicks[:, b]) for b in range(BUCKETS)]
    moved = np.array(left_out) - hits.sum(1) / clicks.sum(1)
    variance = ((BUCKETS - 1) / BUCKETS * (moved**2).sum(0)).sum()
    found = evidence(clicks, hits, RULES)
    scale = (RULES.scale * hits.sum() / clicks.sum()) ** 2 / variance
    bound = (1 + 1 / scale) * (np.log1p(scale) + 2 * np.log(1 / RULES.alpha))

    # Student's t reaches further than the normal distribution, with 64 buckets not by much.
    assert 1 < (found.high - found.low) / 2 / np.sqrt(bound * variance) < 1.15


def test_a_restless_user_does_not_decide() -> None:
    """Whoever clicks more than everybody else together changes neither the rate nor the decision."""
    clicks, hits = np.full(BUCKETS, 100), np.arange(BUCKETS) % 21
    restless = np.where(np.arange(BUCKETS) == 20, 100, 1)
    experiment = Experiment(RULES)
    experiment.add(tally(clicks, hits), tally(restless * clicks, restless * hits))

    assert experiment.verdict is None
    assert experiment.found.rates == pytest.approx([0.1, 0.1], abs=0.005)


@pytest.mark.parametrize(
    ("clicks", "hits"),
    [
        (np.arange(BUCKETS) < 7, 0),
        (1_000 * (np.arange(BUCKETS) < 7), 500 * (np.arange(BUCKETS) < 7)),
        (1_000_000 * (np.arange(BUCKETS) < 1) + 1, 0),
    ],
    ids=["few clicks", "few users", "one user has nearly all"],
)
def test_too_little_is_not_judged(clicks: np.ndarray, hits: np.ndarray) -> None:
    """Few clicks, few users, or one that clicks more than all others together: nothing is said yet."""
    experiment = Experiment(RULES)
    experiment.add(tally(1_000, 500), tally(clicks, hits))

    assert (experiment.verdict, experiment.p) == (None, 1)
    assert "too few; each release needs 1,000, from many users" in experiment.sentence()


def test_nothing_hit_on_either_side_is_no_difference() -> None:
    """Zero against zero has no variance, and decides nothing."""
    experiment = Experiment(RULES)
    experiment.add(tally(1_000, 0), tally(1_000, 0))

    assert (experiment.verdict, experiment.p) == (None, 1)


def test_a_trial_ends_with_its_first_verdict() -> None:
    """Report by report it comes to what the sums show at that look, and to nothing else later."""
    random = np.random.default_rng(5)
    clicks, hits = sums(random, SHOPS[0], looks=LOOKS, change=0.5)
    found, experiment = evidence(clicks, hits, RULES), Experiment(RULES)
    look = int((found.p <= RULES.alpha).argmax())
    for at, (new_clicks, new_hits) in enumerate(
        zip(np.diff(clicks, axis=0, prepend=0), np.diff(hits, axis=0, prepend=0), strict=True)
    ):
        assert (experiment.verdict is Verdict.WORSE) == (at > look)
        experiment.add(*map(tally, new_clicks, new_hits))

    assert experiment.p == found.p[look]
    assert experiment.found.clicks.tolist() == found.clicks[look].tolist()


def test_the_sentence_has_all_that_a_person_asks() -> None:
    """Both rates, their difference with its interval, p, and how many clicks."""
    experiment = Experiment(RULES)
    experiment.add(tally(1_000, 500), tally(100, 25))

    assert experiment.sentence().startswith(
        "hit rate 25.00% against 50.00%, -25.00 percentage points (95 % interval -27."
    )
    assert experiment.sentence().endswith("p < 0.0001, on 6,400 and 64,000 judged clicks")
