"""Simulated trials of candidates: users with habits of their own, divided by chance between two releases.

A user has a propensity to hit that stays (beta), clicks as often as few others or much more (Pareto), and is
there in half of the stretches of time. Clicks come as Poisson processes, so that the sums over the users
of a bucket are drawn at once, and exactly.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.experiment.sequential import Counts, Rules, evidence
from worker.core.quality import BUCKETS, Tally

STRETCHES: Final = 20


class Shop(NamedTuple):
    """Whose clicks are simulated; `clicks` are those of all users between two looks."""

    users: int
    share: float
    hit_rate: float
    clicks: float


LARGE: Final = Shop(users=100_000, share=0.1, hit_rate=0.1, clicks=2_000)

SHOPS: Final = (
    Shop(users=3_000, share=0.1, hit_rate=0.2, clicks=200),
    Shop(users=3_000, share=0.1, hit_rate=0.02, clicks=200),
    Shop(users=300, share=0.1, hit_rate=0.2, clicks=200),
    LARGE,
    Shop(users=60, share=0.5, hit_rate=0.2, clicks=40),
    Shop(users=1_000, share=0.1, hit_rate=0.005, clicks=200),
    Shop(users=300, share=0.1, hit_rate=0.02, clicks=200),
)


class Outcomes(NamedTuple):
    """What came of trials: `sign` 1 better, -1 worse, 0 undecided; the clicks of the candidate until then."""

    sign: NDArray[np.int64]
    clicks: NDArray[np.int64]

    @property
    def decided(self) -> float:
        """The share that was decided."""
        return float((self.sign != 0).mean())


def tally(clicks: int | Counts, hits: int | Counts) -> Tally:
    """So many clicks and hits in each bucket."""
    both = np.zeros((2, BUCKETS), np.int64)
    both[0], both[1] = clicks, hits
    return Tally(clicks_by_bucket=both[0], hits_by_bucket=both[1])


def sums(
    random: np.random.Generator, shop: Shop, *, looks: int, change: float = 1.0
) -> tuple[Counts, Counts]:
    """Clicks and hits `[looks, 2, BUCKETS]` until each look, of users of the champion and of the candidate.

    `change` is what the candidate makes of everyone's propensity to hit.
    """
    tried = random.random(shop.users) < shop.share
    at = tried * BUCKETS + random.integers(BUCKETS, size=shop.users)
    propensity = random.beta(10 * shop.hit_rate, 10 * (1 - shop.hit_rate), shop.users)
    propensity = np.where(tried, np.minimum(change * propensity, 1), propensity)
    activity = 1 + random.pareto(1.5, shop.users)
    activity = activity * (random.random((STRETCHES, shop.users)) < 0.5)
    activity *= shop.clicks / activity.sum(axis=1).mean()
    hits, misses = (
        random.poisson(
            np.repeat([_by_bucket(at, one * chance) for one in activity], looks // STRETCHES, axis=0)
        )
        for chance in (propensity, 1 - propensity)
    )
    shape = (-1, 2, BUCKETS)
    return (hits + misses).cumsum(axis=0).reshape(shape), hits.cumsum(axis=0).reshape(shape)


def outcomes(
    shop: Shop, rules: Rules, *, trials: int, looks: int, change: float = 1.0, seed: int = 0
) -> Outcomes:
    """Trials that are looked at `looks` times each, and end when they are decided."""
    random = np.random.default_rng(seed)
    return Outcomes(*np.array([_outcome(random, shop, rules, looks, change) for _ in range(trials)]).T)


def _outcome(
    random: np.random.Generator, shop: Shop, rules: Rules, looks: int, change: float
) -> tuple[int, int]:
    found = evidence(*sums(random, shop, looks=looks, change=change), rules)
    decided = found.p <= rules.alpha
    look = int(decided.argmax())
    if not decided[look]:
        return 0, int(found.clicks[-1, 1])
    return int(np.sign(found.difference[look])), int(found.clicks[look, 1])


def _by_bucket(at: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[Any]:
    return np.bincount(at, weights, minlength=2 * BUCKETS)
