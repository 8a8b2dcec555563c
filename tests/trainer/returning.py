"""Simulated users who return to places of their own: their counts tell more than the session does."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from tests.trainer.builders import MINUTE_MS, START_MS
from trainer.clicks.columns import SCHEMA

DAY_MS: Final = 24 * 60 * MINUTE_MS


def returning_clicks(
    users: int = 600,
    *,
    places: int = 1500,
    own: int = 8,
    loyalty: float = 0.75,
    sessions: int = 40,
    change: float = 0.005,
    seed: int = 0,
) -> pl.DataFrame:
    """Clicks of `users`, each of whom has `own` of the `places`, some dearer than others.

    A click is on one of the user's own places with the probability `loyalty`, otherwise on any place, by its
    popularity (Zipf). Each user has about `sessions` sessions of one to four clicks within a hundred days.
    After a click, one of the own places becomes another with the probability `change`.
    """
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, places + 1)
    popularity /= popularity.sum()
    favour = 0.6 ** np.arange(own)
    favour /= favour.sum()
    rows = []
    for user in range(users):
        mine = random.choice(places, own, replace=False, p=popularity)
        begins = np.sort(random.integers(0, 100 * DAY_MS, random.poisson(sessions)))
        for begin in begins.tolist():
            for step in range(random.integers(1, 5)):
                at_home = random.random() < loyalty
                place = random.choice(mine, p=favour) if at_home else random.choice(places, p=popularity)
                rows.append((f"user-{user}", f"place-{place}", START_MS + begin + step * MINUTE_MS))
                if random.random() < change:
                    mine[random.integers(own)] = random.integers(places)
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("timestamp_ms", maintain_order=True)
