"""What learning the hold-out after the gate gains: news, a window of two days, a hold-out of one hour.

Both releases answer the clicks of the hour after the window: the one that was measured by the gate, and the
one that is published, which has learned the hold-out.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from tests.quality.beside import METRICS, TOP
from tests.quality.data import clicks_of
from trainer.clicks.columns import SCHEMA
from trainer.clicks.timestamps import HOUR_MS
from trainer.config import FitSettings, Run
from trainer.console import Progress
from trainer.continuous.plan import Window
from trainer.continuous.strategies import Refit
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import align, paired

NAME: Final = "globo_g1_news"
HOURS: Final = 48
ENDS: Final = (0.3, 0.5, 0.7)
"""The ends of the windows, as shares of all clicks by time."""

SETTINGS: Final = FitSettings.of(epochs=3, session_gap=1800, min_item_count=1)


def run(progress: Progress) -> dict[str, Any]:
    """Return, for each window, both releases' metrics and the difference with its interval."""
    clicks, began, found = clicks_of(NAME).select(*SCHEMA), time.monotonic(), {}
    for end in ENDS:
        end_ms = int(clicks["timestamp_ms"].quantile(end) or 0)
        found[f"{end:.0%}"] = _gained(clicks, end_ms, progress)
    seconds = time.monotonic() - began
    return {
        "metrics": {f"gained {end} {name}": one[name][2] for end, one in found.items() for name in METRICS}
    } | {
        "windows": found,
        "seconds": seconds,
    }


def _gained(clicks: pl.DataFrame, end_ms: int, progress: Progress) -> dict[str, list[float]]:
    """Return metric -> [measured release, published release, difference, low, high]."""
    now, span = datetime.now(UTC), Window(end_ms - HOURS * HOUR_MS, end_ms - HOUR_MS, end_ms)
    known = clicks.filter(pl.col("timestamp_ms").is_between(span.begin_ms, end_ms, closed="left"))
    until = clicks.filter(pl.col("timestamp_ms").is_between(span.begin_ms, end_ms + HOUR_MS, closed="left"))
    strategy = Refit(Run(warm=False), SETTINGS, progress, asked=())
    measured = strategy.train(known.lazy(), span, None, now)
    published = strategy.finish(known.lazy(), span, measured, now)
    aligned = align(
        measured.release,
        published.release,
        cleaned(until, progress, now),
        from_ms=end_ms,
        top=TOP,
        exclude_recent=None,
    )
    compared = paired(aligned.a, aligned.b, aligned.session, top=TOP)
    return {
        name: [one.a, one.b, one.difference, one.low, one.high]
        for name, one in compared.items()
        if name in METRICS
    }
