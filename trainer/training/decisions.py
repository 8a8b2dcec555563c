"""Decisions about the training itself, from the prepared data (see `trainer.dataset.decisions`)."""

from __future__ import annotations

import math
from typing import Any, Final

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.dataset.decisions import DECISIONS, Decision, Settings, applied, open_keys, recorded

_LARGE: Final = 20_000
"""From this number of items on, sampled negatives take less than a third of the time of all items."""

_NEGATIVES: Final = 4096
"""With this number of negatives, Recall is not lower than with all items ("Speed of training" in
tests/README.md)."""

_PER_ITEM: Final = 100
"""Number of predictions per item, over all epochs, after which more epochs did not improve Recall."""

_MOST_EPOCHS: Final = 100

_MANY_EPOCHS: Final = 10
_DROPOUT: Final = 0.4
"""The dropout rate from `_MANY_EPOCHS` on. It was better than the default on all six public sets with 13 to
15 epochs, and worse by MRR with 5 epochs over more clicks ("Networks tried" in tests/README.md)."""

_ONLINE: Final = {
    "optimizer.schedule": "constant",
    "optimizer.learning_rate": 4e-3,
    "training.batch_clicks": 128,
}
_POPULARITY: Final = (0.15, 1.0, 6.0)
_TRANSITIONS: Final = (6.0, 48.0)
"""For online training: half-lives of the counts as multiples of the interval between runs ("News" in
tests/README.md)."""


def of_online_training(settings: FitSettings, every: float) -> dict[str, Any]:
    """Return the settings of an online training with an interval of `every` seconds, by key.

    Settings that the user set are left out. A run has few clicks, so batches are small; and what is popular
    changes within a few runs.
    """
    chosen = {
        **_ONLINE,
        "blend.popularity_half_lives": tuple(every * factor for factor in _POPULARITY),
        "blend.transition_half_lives": tuple(every * factor for factor in _TRANSITIONS),
    }
    return {key: chosen[key] for key in open_keys(settings, *chosen)}


def decided(data: Data, settings: Settings, progress: Progress) -> Settings:
    """Return `settings` with all decisions, those in the summary of `data` and those about the training.

    The latter are also printed, and added to the summary.
    """
    found = of_training(data, settings)
    for decision in found:
        progress.say(str(decision))
    data.summary[DECISIONS] += recorded(found)
    return applied(settings, data.summary)


def of_training(data: Data, settings: FitSettings) -> list[Decision]:
    """Return the decisions about negatives, epochs and dropout, unless the user set them."""
    items, predictions = data.clicked_items, data.train.predictions
    per_item = min(_MOST_EPOCHS, math.ceil(_PER_ITEM * items / predictions))
    epochs = max(settings.training.epochs_for(predictions), per_item)
    planned = settings.training.epochs or epochs
    found = [
        Decision(
            "loss.negatives",
            _NEGATIVES if items > _LARGE else 0,
            f"the catalogue has {items:,} items with clicks",
        ),
        Decision(
            "training.epochs",
            epochs,
            f"an epoch has {predictions:,} predictions, {predictions / items:.1f} per item",
        ),
        Decision(
            "model.dropout",
            _DROPOUT if planned >= _MANY_EPOCHS else settings.model.dropout,
            f"the training has up to {planned} epochs",
        ),
    ]
    chosen = open_keys(settings, *(decision.key for decision in found))
    return [decision for decision in found if decision.key in chosen]
