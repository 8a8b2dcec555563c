"""Whether a candidate does better or worse live than the champion: a test that may be looked at all the time.

Clicks of one user are no independent observations, the buckets of users that live quality counts in are. An
arm, the users of one release, hits at the rate R = sum w r / sum w over its buckets, r being hits over clicks
and w the clicks, but no more than an average bucket has: else one restless user decides. To leave one out
moves the rate by w (r - R) / (W - w); the sum of the squares, times (B - 1) / B, is the jackknife's variance
(Efron and Stein 1981), never taken for less than that of independent clicks. The arms are different users at
the same time, so that their variances add up. The difference over its error is Student's t, with the degrees
of freedom of Welch and Satterthwaite; by Wallace (1959) nearly normal as

    z^2 = ((8 v + 1) / (8 v + 3))^2 v log(1 + t^2 / v).

If there were no difference, the likelihood ratio of a normal mixture over the true difference (Robbins 1970)
would exceed 1 / alpha at any of all looks with probability alpha at most. So its inverse is a p-value, and
the differences that it leaves are an interval, that hold however often one looks (Johari, Koomen, Pekelis and
Walsh 2022; with estimated variances asymptotically: Waudby-Smith et al. 2024).

>>> experiment = Experiment(Rules(min_clicks=500))
>>> champion, candidate = (Tally(clicks_by_bucket=np.full(BUCKETS, 10)) for _ in range(2))
>>> champion.hits_by_bucket += 3
>>> experiment.add(champion, candidate)
>>> str(experiment.verdict), experiment.p < 0.001
('worse', True)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.config import Watch
from worker.core.quality import BUCKETS, Tally

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """When an experiment is decided.

    `alpha`: how probably a candidate that is no different is decided on, at most. Nothing is decided before
    both arms have `min_clicks` judged clicks, and users in as many buckets as `min_buckets` of equal weight.
    `scale` is that of the mixture, as a share of the hit rate: differences of that size are found soonest.
    """

    alpha: float = Watch().alpha
    min_clicks: int = Watch().min_clicks
    min_buckets: float = 16.0
    scale: float = 0.3


class Verdict(StrEnum):
    """The result for the candidate, compared with the champion."""

    BETTER = "better"
    WORSE = "worse"


class Evidence(NamedTuple):
    """The evidence in sums of clicks and hits, for each of the looks `[...]` separately.

    `clicks` and `rates` `[..., 2]` are those of champion and candidate; `low` and `high` bound the difference
    of the rates. Where it is not `enough`, `p` is 1 and the interval everything.
    """

    clicks: Counts
    rates: Floats
    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    enough: NDArray[np.bool_]


def evidence(clicks: Counts, hits: Counts, rules: Rules) -> Evidence:
    """Return the evidence in sums of clicks and hits `[..., 2, B]`, by bucket, of champion and candidate."""
    # Without clicks, or with one bucket that has all of them, there are no numbers, and not enough.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        arms = _arms(clicks, hits)
        variance = arms.variances.sum(axis=-1)
        freedom = variance**2 / (arms.variances**2 / (arms.buckets - 1)).sum(axis=-1)
        exposed = (arms.clicks >= rules.min_clicks) & (arms.buckets >= rules.min_buckets)
        enough = exposed.all(axis=-1) & (variance > 0)
        difference = arms.rates[..., 1] - arms.rates[..., 0]
        ratio = (rules.scale * arms.pooled) ** 2 / variance
        p = np.exp((np.log1p(ratio) - _normal(difference**2 / variance, freedom) * ratio / (1 + ratio)) / 2)
        bound = (1 + 1 / ratio) * (np.log1p(ratio) - 2 * np.log(rules.alpha))
        reach = np.sqrt(_student(bound, freedom) * variance)
    return Evidence(
        arms.clicks,
        arms.rates,
        difference,
        np.where(enough, np.maximum(difference - reach, -1), -1),
        np.where(enough, np.minimum(difference + reach, 1), 1),
        np.where(enough, np.minimum(p, 1), 1),
        enough,
    )


class Experiment:
    """An A/B test of a candidate, report by report: the same reports come to the same verdict."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._clicks = np.zeros((2, BUCKETS), np.int64)
        self._hits = np.zeros((2, BUCKETS), np.int64)
        self.found = evidence(self._clicks, self._hits, rules)
        """The result of the last look."""
        self.p = 1.0
        """The smallest of all looks so far."""
        self.verdict: Verdict | None = None
        """The final verdict, which no further report changes."""

    def add(self, champion: Tally, candidate: Tally) -> None:
        """Count what one report has of both, and look."""
        if self.verdict:
            return
        self._clicks += [champion.clicks_by_bucket, candidate.clicks_by_bucket]
        self._hits += [champion.hits_by_bucket, candidate.hits_by_bucket]
        self.found = evidence(self._clicks, self._hits, self._rules)
        self.p = min(self.p, float(self.found.p))
        if self.p <= self._rules.alpha:
            self.verdict = Verdict.BETTER if self.found.difference > 0 else Verdict.WORSE

    def sentence(self) -> str:
        """Return the state of the experiment in words: the figures, or what is missing."""
        champion, candidate = self.found.clicks.tolist()
        if not self.found.enough:
            return (
                f"{candidate:,} judged clicks against {champion:,}: too few; it takes "
                f"{self._rules.min_clicks:,} of each, of many users"
            )
        (old, new), found = self.found.rates.tolist(), self.found
        p = "p < 0.0001" if self.p < 1e-4 else f"p {self.p:.2g}"
        return (
            f"hit rate {new:.2%} against {old:.2%}, {100 * found.difference:+.2f} points "
            f"({100 - 100 * self._rules.alpha:g} % interval {100 * found.low:+.2f} to "
            f"{100 * found.high:+.2f}), {p}, on {candidate:,} and {champion:,} judged clicks"
        )


class _Arms(NamedTuple):
    """Of each arm `[..., 2]`; `buckets`: how many of equal weight it has. `pooled` `[...]`: of all clicks."""

    clicks: Counts
    rates: Floats
    variances: Floats
    buckets: Floats
    pooled: Floats


def _arms(clicks: Counts, hits: Counts) -> _Arms:
    totals, used = clicks.sum(axis=-1), (clicks > 0).sum(axis=-1)
    weights = np.minimum(clicks, (totals / used)[..., None])
    weight = weights.sum(axis=-1)
    hit = np.where(clicks > 0, weights * hits / clicks, 0)
    rates = hit.sum(axis=-1) / weight
    moved = (hit - rates[..., None] * weights) / (weight[..., None] - weights)
    jackknife = (used - 1) / used * (moved**2).sum(axis=-1)
    pooled = hits.sum(axis=(-2, -1)) / totals.sum(axis=-1)
    independent = (pooled * (1 - pooled))[..., None] / totals
    return _Arms(
        totals, rates, np.maximum(jackknife, independent), weight**2 / (weights**2).sum(axis=-1), pooled
    )


def _shrink(freedom: Floats) -> Any:
    return freedom * ((8 * freedom + 1) / (8 * freedom + 3)) ** 2


def _normal(squares: Floats, freedom: Floats) -> Floats:
    """Return the squares of normal variables that are as improbable as those of Student's `squares`."""
    return _shrink(freedom) * np.log1p(squares / freedom)


def _student(squares: Floats, freedom: Floats) -> Floats:
    """Return the inverse of `_normal`."""
    return freedom * np.expm1(squares / _shrink(freedom))
