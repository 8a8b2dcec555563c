"""The gate of a periodic training: a release that is shown to be worse than the champion does not pass.

Both answer the same newest clicks, and a paired bootstrap over their sessions (`compare`) gives the
confidence in their difference. Without evidence of one the new release passes: it knows more of what is
clicked at present.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, get_args

import polars as pl

from trainer.config import FitSettings, Run
from trainer.console import Progress
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import Difference, align, paired
from worker.core.release import Release

DECISIONS: Final = ("better", "no_difference", "worse")
"""The words that `decision` returns."""

METRICS: Final[tuple[str, ...]] = get_args(Run.model_fields["by"].annotation)
"""The metrics that a gate may decide by."""


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
    """Return how `new` differs from `champion` on the sessions in `clicks` that begin at `from_ms` or later.

    Raises TooFewClicks if no session has two clicks.
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
    """Return the outcome as one word of a fixed set (it becomes a metric's label)."""
    if found.better:
        return "better"
    return "worse" if found.worse else "no_difference"
