"""The gate of a periodic training: a release that is shown to be worse than the champion does not pass.

Both answer the same newest clicks, and a paired bootstrap over their sessions (`compare`) says how
sure their difference is. Where none is shown the new one passes: it knows more of what is clicked at present.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import polars as pl

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import Difference, align, paired
from worker.core.release import Release

DECISIONS: Final = ("better", "no_difference", "worse")
"""All that `decision` may say."""

METRICS: Final = ("recall", "mrr", "ndcg")
"""What a gate may decide by."""


def measured(
    champion: Release,
    new: Release,
    clicks: pl.LazyFrame,
    *,
    from_ms: int,
    by: str,
    settings: FitSettings,
    now: datetime,
) -> Difference:
    """How `new` differs from `champion` on the sessions in `clicks` that begin at `from_ms` or later.

    Raises TooFewClicks where there is none of two clicks.
    """
    late = clicks.filter(pl.col("timestamp_ms") >= from_ms).select("user_id").unique()
    theirs = clicks.join(late, on="user_id", how="semi", maintain_order="left")
    aligned = align(
        champion,
        new,
        cleaned(theirs.collect(engine="streaming"), Progress(), now),
        from_ms=from_ms,
        top=settings.evaluation.top,
        exclude_recent=settings.evaluation.exclude_recent,
    )
    found = paired(
        aligned.a, aligned.b, aligned.session, top=settings.evaluation.top, seed=settings.training.seed
    )
    return found[f"{by}_at_{settings.evaluation.top}"]


def decision(found: Difference) -> str:
    """What was shown, in a word of a bounded set (it becomes a metric's label)."""
    if found.better:
        return "better"
    return "worse" if found.worse else "no_difference"
