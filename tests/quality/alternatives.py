"""What each decision of `fit` is worth: a release for each other value, compared with the chosen one.

A first release is trained with default settings. In each other release, one decision has another value, and
all others keep theirs. Both answer the same predictions of the test split (paired bootstrap over sessions).
The release with another seed shows how much of a difference may be chance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tests.quality import defaults
from tests.quality.beside import METRICS, TOP
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import align, paired
from trainer.training.fit import fit
from worker.settings.loading import replaced

VALUES: Final[dict[str, tuple[Any, ...]]] = {
    "dataset.session_gap": (0.0, 1_800.0),
    "dataset.min_item_count": (1, 5),
    "evaluation.exclude_recent": (0, 1, 20),
    "model.dropout": (0.25, 0.4),
    "training.final_training": (False,),
    "training.seed": (1,),
    "dataset.validation_fraction": (0.05, 0.1),
    "loss.negatives": (0, 1_024),
    "model.hidden_size": (64, 160),
    "training.batch_clicks": (256, 1_024),
}
"""Values to try by key, after half and twice the chosen number of epochs."""


def run(name: str, progress: Progress) -> dict[str, Any]:
    """Return the difference in each metric to the chosen release, for each other value of a decision."""
    began, now = time.monotonic(), datetime.now(UTC)
    clicks, split_at_ms = defaults.split(name)
    settings, held = FitSettings.of(split_at=split_at_ms), cleaned(clicks, progress, now)
    chosen = fit(clicks, settings, progress, now=now)
    decisions = {one["key"]: one["value"] for one in chosen.manifest.training["decisions"]}
    found = dict[str, dict[str, Any]]()
    for key, value in _others(decisions):
        other = fit(clicks, replaced(settings, {**decisions, key: value}), Progress(), now=now)
        aligned = align(
            chosen.release, other.release, held, from_ms=split_at_ms, top=TOP, exclude_recent=None
        )
        compared = paired(aligned.a, aligned.b, aligned.session, top=TOP)
        one = {
            metric: [compared[metric].difference, compared[metric].low, compared[metric].high]
            for metric in METRICS
        }
        found[f"{key} {value:g}"] = {**one, "predictions": len(aligned.session)}
        progress.say(f"{key} {value:g}: {_told(one)}, {len(aligned.session):,} predictions")
    return {
        "metrics": {
            f"{other} {metric}": one[metric][0] for other, one in found.items() for metric in METRICS
        },
        "chosen": decisions,
        "alternatives": found,
        "seconds": time.monotonic() - began,
    }


def _others(decisions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys with each value to try that is not in `decisions`."""
    epochs = decisions["training.epochs"]
    tried = {"training.epochs": (epochs // 2, 2 * epochs), **VALUES}
    yield from (
        (key, value) for key, values in tried.items() for value in values if value != decisions.get(key)
    )


def _told(one: Mapping[str, list[float]]) -> str:
    parts = (
        f"{metric} {100 * a:+.2f} ({100 * b:+.2f} to {100 * c:+.2f})" for metric, (a, b, c) in one.items()
    )
    return ", ".join(parts)
