"""Simulated catalogues whose best simple method is known by construction.

Each world has up to 44,000 clicks of a kind that people really have. On each, the defaults have to come out
within the interval of the best method. `make quality ARGS="--only simulated"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from trainer.clicks.columns import SCHEMA

BEGIN_MS: Final = 1_700_000_000_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

Click = tuple[str, str, int]
"""User, item, and time in ms."""


class World(NamedTuple):
    """How clicks are made, and the baseline that fits them best."""

    clicks: Callable[[np.random.Generator], Iterator[Click]]
    best: str
    why: str
    renewed_every_ms: int = 0
    """The interval between releases; 0: one release answers the whole test split."""


def clicks_of(name: str, *, seed: int = 0) -> pl.DataFrame:
    """Return the clicks of a world, by time."""
    rows = list(WORLDS[name].clicks(np.random.default_rng(seed)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("timestamp_ms", maintain_order=True)


def _dense(random: np.random.Generator) -> Iterator[Click]:
    """Each of 300 items has five followers, which come next in nine of ten clicks."""
    followers = random.integers(300, size=(300, 5))
    odds = np.array([0.4, 0.25, 0.15, 0.12, 0.08])
    for session in range(8_000):
        item, at = int(random.integers(300)), BEGIN_MS + session * 5 * MINUTE_MS
        for step in range(int(random.integers(3, 9))):
            yield f"user-{session}", f"item-{item}", at + step * MINUTE_MS
            known = random.random() < 0.9
            item = int(followers[item, random.choice(5, p=odds)]) if known else int(random.integers(300))


def _sparse(random: np.random.Generator) -> Iterator[Click]:
    """Sessions of five clicks on items of one of 800 groups of ten, in no order; few clicks for each item."""
    for session in range(8_000):
        group, at = int(random.integers(800)), BEGIN_MS + session * 5 * MINUTE_MS
        for step, place in enumerate(random.permutation(10)[:5].tolist()):
            yield f"user-{session}", f"item-{group}-{place}", at + step * MINUTE_MS


def _repeating(random: np.random.Generator) -> Iterator[Click]:
    """A user goes to one of eight own places each day, to the first ones most, and seldom elsewhere."""
    own = random.integers(3_000, size=(800, 8))
    odds = 1.0 / np.arange(1, 9)
    for user in range(800):
        for day in range(45):
            usual = random.random() < 0.9
            place = own[user, random.choice(8, p=odds / odds.sum())] if usual else random.integers(3_000)
            yield f"user-{user}", f"place-{place}", BEGIN_MS + day * DAY_MS + int(random.integers(DAY_MS))


def _drifting(random: np.random.Generator) -> Iterator[Click]:
    """Forty items are in fashion, the middle ones most; each day one gets in, and one goes out."""
    odds = 1.0 / (5 + np.abs(np.arange(40) - 20))
    for session in range(9_000):
        at = BEGIN_MS + session * 30 * DAY_MS // 9_000
        oldest = (at - BEGIN_MS) // DAY_MS
        chosen = random.choice(40, size=int(random.integers(2, 6)), p=odds / odds.sum())
        for step, place in enumerate(chosen.tolist()):
            yield f"user-{session}", f"item-{oldest + place}", at + step * MINUTE_MS


def _tiny(random: np.random.Generator) -> Iterator[Click]:
    """A shop's first week: 150 visits, and forty items that differ in popularity only."""
    odds = 1.0 / np.arange(1, 41)
    for session in range(150):
        at = BEGIN_MS + session * HOUR_MS
        for step in range(int(random.integers(2, 6))):
            yield f"user-{session}", f"item-{random.choice(40, p=odds / odds.sum())}", at + step * MINUTE_MS


WORLDS: Final = {
    "dense": World(_dense, "markov", "the last click alone tells the next"),
    "sparse": World(_sparse, "co-occurrence", "what was clicked together, in whatever order"),
    "repeating": World(_repeating, "own items", "users return to their own places"),
    "drifting": World(
        _drifting, "recently popular", "fashion changes, and nothing else matters", 6 * HOUR_MS
    ),
    "tiny": World(_tiny, "popular", "there is too little to learn more from"),
}
