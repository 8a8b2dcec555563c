"""A release beside every baseline on the clicks that were held out, each figure with its 95 % interval."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned, hold_out
from trainer.evaluation.benchmark import NETWORK, score
from trainer.release.package import PackagedRelease

TOP: Final = 20
METRICS: Final = (f"recall_at_{TOP}", f"mrr_at_{TOP}", f"ndcg_at_{TOP}")


def beside_baselines(
    fitted: PackagedRelease, clicks: pl.DataFrame, settings: FitSettings, progress: Progress
) -> dict[str, Any]:
    """What `fitted` and the baselines come to on the sessions from `settings.dataset.split_at` on."""
    held = hold_out(
        cleaned(clicks, progress, datetime.now(UTC)),
        gap_seconds=fitted.manifest.session_gap_seconds,
        from_ms=settings.dataset.split_at,
        progress=progress,
    )
    result = score(
        fitted.release, held, top=TOP, exclude_recent=settings.evaluation.exclude_recent, progress=progress
    )
    models = {
        model: {metric: list(figures[metric]) for metric in METRICS}
        for model, figures in result.models.items()
    }
    return {
        "metrics": {metric: models[NETWORK][metric][0] for metric in METRICS},
        "predictions": result.predictions,
        "models": models,
        "not_above": _not_above(models),
        "configuration": settings.to_json(),
        "blend": fitted.manifest.training.get("blend"),
    }


def _not_above(models: dict[str, dict[str, list[Any]]]) -> list[str]:
    """A sentence for each metric by which a baseline is not beaten."""
    return [
        f"{metric}: {model} {figures[metric][0]:.4f}, the network {models[NETWORK][metric][0]:.4f}"
        for metric in METRICS
        for model, figures in models.items()
        if model != NETWORK and figures[metric][0] >= models[NETWORK][metric][0]
    ]
