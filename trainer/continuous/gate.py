"""The gate of continuous training: a release that is significantly worse than the champion is refused.

Both releases are measured on the same newest clicks, and a paired bootstrap over sessions (`compare`) gives
the confidence interval of their difference. A release that is not significantly different passes, because it
is trained on more recent clicks.
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
from worker.settings.loading import given

DECISIONS: Final = ("better", "no_difference", "worse")
"""The possible return values of `decision`."""

METRICS: Final[tuple[str, ...]] = get_args(Run.model_fields["by"].annotation)
"""The metrics that the gate can decide by."""


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
    """Return the difference between `new` and `champion` in the metric `by`.

    The difference is measured on the sessions in `clicks` that start at `from_ms` or later. Raises
    TooFewClicks if none of these sessions has two clicks.
    """
    late = clicks.filter(pl.col("timestamp_ms") >= from_ms).select("user_id").unique()
    theirs = clicks.join(late, on="user_id", how="semi", maintain_order="left")
    aligned = align(
        champion,
        new,
        cleaned(theirs.collect(engine="streaming"), Progress(), now),
        from_ms=from_ms,
        top=settings.evaluation.top,
        exclude_recent=exclusion_set(settings),
    )
    found = paired(
        aligned.a, aligned.b, aligned.session, top=settings.evaluation.top, seed=settings.training.seed
    )
    return found[f"{by}_at_{settings.evaluation.top}"]


def exclusion_set(settings: FitSettings) -> int | None:
    """Return `evaluation.exclude_recent`; None, for what each release says, if the user did not set it."""
    return settings.evaluation.exclude_recent if "evaluation.exclude_recent" in given(settings) else None


def decision(found: Difference) -> str:
    """Return the gate's decision on a difference, as a label for metrics: one of `DECISIONS`."""
    if found.better:
        return "better"
    return "worse" if found.worse else "no_difference"
