"""Small public data sets: the network beside every baseline, with intervals, on the last clicks of each.

Sessions are cut at half an hour, the last tenth by time is held out (bol.com: the day that its publisher
validates and tests with). Nobody rates a film twice: there no film of the last 20 is recommended again.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from tests.quality.data import begin_of, clicks_of
from trainer.config import FitSettings
from trainer.events import SCHEMA
from trainer.fit import fit
from trainer.held_out import cleaned, hold_out
from trainer.progress import Progress
from trainer.scoreboard import NETWORK, score
from trainer.sessions import moment_before
from worker.core.release import verify

TOP: Final = 20
FIRST_TEST_SESSION: Final = {"bolcom_serenade": 2_000_000}
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "bolcom_serenade": {"exclude_recent": 0, "min_item_count": 1},
    "movietweetings_100k": {"exclude_recent": 20, "min_item_count": 2},
    "ml100k": {"exclude_recent": 20, "min_item_count": 2},
}
NAMES: Final = tuple(SETTINGS)
METRICS: Final = (f"recall_at_{TOP}", f"mrr_at_{TOP}", f"ndcg_at_{TOP}")


def run(name: str, progress: Progress) -> dict[str, Any]:
    """Fit on all but the end of `name`; network and baselines on its end."""
    clicks, settings = clicks_of(name), SETTINGS[name]
    if name in FIRST_TEST_SESSION:
        split_at_ms = begin_of(clicks, FIRST_TEST_SESSION[name])
    else:
        split_at_ms = moment_before(clicks, 0.1)
    chosen, clicks = FitSettings(**settings, split_at_ms=split_at_ms), clicks.select(*SCHEMA)
    began = time.monotonic()
    fitted = fit(clicks, chosen, progress)
    seconds = time.monotonic() - began
    held = hold_out(
        cleaned(clicks, progress, datetime.now(UTC)),
        gap_seconds=chosen.session_gap_seconds,
        from_ms=split_at_ms,
        progress=progress,
    )
    quality = score(verify(*fitted), held, top=TOP, exclude_recent=chosen.exclude_recent, progress=progress)
    models = {
        model: {metric: list(figures[metric]) for metric in METRICS}
        for model, figures in quality.models.items()
    }
    return {
        "metrics": {metric: models[NETWORK][metric][0] for metric in METRICS},
        "models": models,
        "not_above": _not_above(models),
        "configuration": chosen.to_json(),
        "blend": fitted.manifest.training.get("blend"),
        "seconds": seconds,
    }


def _not_above(models: dict[str, dict[str, list[Any]]]) -> list[str]:
    """A sentence for each metric by which a baseline is not beaten."""
    return [
        f"{metric}: {model} {figures[metric][0]:.4f}, the network {models[NETWORK][metric][0]:.4f}"
        for metric in METRICS
        for model, figures in models.items()
        if model != NETWORK and figures[metric][0] >= models[NETWORK][metric][0]
    ]
