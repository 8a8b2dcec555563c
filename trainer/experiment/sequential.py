"""The sequential test of a candidate against the champion; the results may be checked at any time.

Clicks of one user are not independent observations, so users are divided into B independent buckets. An arm
is the users of one release. Its hit rate is R = sum w r / sum w over its buckets: r is hits / clicks, and the
weight w is the number of clicks, but at most that of an average bucket, so that a single very active user
cannot decide. Leaving one bucket out changes R by w (r - R) / (W - w), where W = sum w. The sum of the
squares of these changes, times (B - 1) / B, is the jackknife variance (Efron and Stein 1981). If the variance
of independent clicks is larger, it is used instead. The arms have different users at the same time, so their
variances add up. The difference divided by its standard error is Student's t with v degrees of freedom (Welch
and Satterthwaite). It is transformed to a nearly normal variable z (Wallace 1959):

    z^2 = ((8 v + 1) / (8 v + 3))^2 v log(1 + t^2 / v).

If there is no difference, the likelihood ratio of a normal mixture over the true difference (Robbins 1970)
ever exceeds 1 / alpha with probability at most alpha. So its inverse is a p-value, and the differences that
the test does not reject form a confidence interval. Both stay valid for any number of checks (Johari, Koomen,
Pekelis and Walsh 2022; with estimated variances asymptotically: Waudby-Smith et al. 2024).

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
    """The rules by which an experiment is decided.

    `alpha`: the maximum probability of a decision if there is no difference. No decision is made until both
    arms have `min_clicks` judged clicks, and an effective number of buckets of at least `min_buckets`.
    `scale`: the standard deviation of the mixture, relative to the hit rate; differences of this size are
    detected fastest.
    """

    alpha: float = Watch().alpha
    min_clicks: int = Watch().min_clicks
    min_buckets: float = 16.0
    scale: float = 0.3


class Verdict(StrEnum):
    """The verdict on the candidate, compared with the champion."""

    BETTER = "better"
    WORSE = "worse"


class Evidence(NamedTuple):
    """The results of one or more interim analyses `[...]`.

    `clicks` and `rates` `[..., 2]`: of champion and candidate. `difference`: candidate minus champion, with
    the confidence interval `low` to `high`. `p`: the p-value of this analysis alone. `enough`: whether there
    are enough clicks; if not, `p` is 1 and the interval is -1 to 1.
    """

    clicks: Counts
    rates: Floats
    difference: Floats
    low: Floats
    high: Floats
    p: Floats
    enough: NDArray[np.bool_]


def evidence(clicks: Counts, hits: Counts, rules: Rules) -> Evidence:
    """Return the evidence from `clicks` and `hits` `[..., 2, B]`: champion and candidate, by bucket."""
    # Without clicks, or with all clicks in one bucket, the results are NaN and `enough` is false.
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
    """An A/B test of a candidate, updated report by report. The same reports give the same verdict."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._clicks = np.zeros((2, BUCKETS), np.int64)
        self._hits = np.zeros((2, BUCKETS), np.int64)
        self.found = evidence(self._clicks, self._hits, rules)
        """The evidence after the last report."""
        self.p = 1.0
        """The always-valid p-value: the lowest p-value after any of the reports."""
        self.verdict: Verdict | None = None
        """The final verdict; further reports do not change it."""

    def add(self, champion: Tally, candidate: Tally) -> None:
        """Add one report's counts for both releases, and analyse the experiment."""
        if self.verdict:
            return
        self._clicks += [champion.clicks_by_bucket, candidate.clicks_by_bucket]
        self._hits += [champion.hits_by_bucket, candidate.hits_by_bucket]
        self.found = evidence(self._clicks, self._hits, self._rules)
        self.p = min(self.p, float(self.found.p))
        if self.p <= self._rules.alpha:
            self.verdict = Verdict.BETTER if self.found.difference > 0 else Verdict.WORSE

    def sentence(self) -> str:
        """Return the state of the experiment as text: the results, or what is missing for a result."""
        champion, candidate = self.found.clicks.tolist()
        if not self.found.enough:
            return (
                f"{candidate:,} judged clicks against {champion:,}: too few; each release needs "
                f"{self._rules.min_clicks:,}, from many users"
            )
        (old, new), found = self.found.rates.tolist(), self.found
        p = "p < 0.0001" if self.p < 1e-4 else f"p {self.p:.2g}"
        return (
            f"hit rate {new:.2%} against {old:.2%}, {100 * found.difference:+.2f} percentage points "
            f"({100 - 100 * self._rules.alpha:g} % interval {100 * found.low:+.2f} to "
            f"{100 * found.high:+.2f}), {p}, on {candidate:,} and {champion:,} judged clicks"
        )


class _Arms(NamedTuple):
    """Statistics of each arm, `[..., 2]`.

    `buckets`: the effective number of buckets, which is lower the more their weights differ (Kish). `pooled`
    `[...]`: the hit rate over both arms.
    """

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
    """Return squared normal variables with about the same tail probability as Student's squared `squares`."""
    return _shrink(freedom) * np.log1p(squares / freedom)


def _student(squares: Floats, freedom: Floats) -> Floats:
    """Return the inverse of `_normal`."""
    return freedom * np.expm1(squares / _shrink(freedom))
