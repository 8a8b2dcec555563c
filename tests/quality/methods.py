"""The textbook's methods side by side on one data set: networks, losses, optimisers.

All but one row are without the blend, which would hide what a network, a loss or an optimiser does. All are
measured on the same predictions, and each beside the GRU with default settings, by a paired bootstrap.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final

from tests.quality.beside import TOP
from tests.quality.data import clicks_of
from trainer.clicks.columns import SCHEMA
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.holdout import cleaned
from trainer.dataset.sessions import moment_before
from trainer.evaluation.compare import align, paired
from trainer.training.fit import fit
from worker.core.release import Release

NAME: Final = "ml100k"

ALL: Final[dict[str, Any]] = {"exclude_recent": 20, "min_item_count": 2}

UNBLENDED: Final[dict[str, Any]] = {
    "popularity_half_lives": (),
    "transitions": 0,
    "co_occurrences": 0,
    "repeat_lags": 0,
}

PLAIN: Final[dict[str, Any]] = {
    "normalize": False,
    "output_table": "separate",
    "output_bias": True,
    "schedule": "constant",
    "dropout": 0.0,
}
"""The textbook's `y = Why h + b`."""

GRU: Final = "GRU"

METHODS: Final[dict[str, dict[str, Any]]] = {
    GRU: {},
    "reference LSTM(128), dropout, softmax, Adam": {
        **PLAIN,
        "cell": "lstm",
        "hidden_size": 128,
        "hidden_dropout": 0.2,
        "learning_rate": 1e-3,
    },
    "Elman, squared error, SGD": {
        **PLAIN,
        "cell": "elman",
        "function": "squared_error",
        "algorithm": "sgd",
        "learning_rate": 0.5,
    },
    "Elman": {"cell": "elman"},
    "LSTM": {"cell": "lstm"},
    "two layers": {"layers": 2},
    "loss: sampled softmax": {"negatives": 512},
    "loss: label smoothing": {"label_smoothing": 0.1},
    "loss: bpr_max": {"function": "bpr_max", "negatives": 512},
    "loss: top1_max": {"function": "top1_max", "negatives": 512},
    "loss: squared_error": {**PLAIN, "function": "squared_error"},
    "optimiser: full-batch gradient descent": {
        "algorithm": "sgd",
        "full_batch": True,
        "learning_rate": 5.0,
        "epochs": 40,
    },
    "optimiser: sgd": {"algorithm": "sgd", "learning_rate": 0.5},
    "optimiser: momentum": {"algorithm": "sgd", "momentum": 0.9, "learning_rate": 0.1},
    "optimiser: rmsprop": {"algorithm": "rmsprop", "learning_rate": 1e-3},
    "optimiser: adagrad": {"algorithm": "adagrad", "learning_rate": 0.05},
    "optimiser: adamw": {"algorithm": "adamw", "weight_decay": 0.1},
    "endless sessions": {"session_gap": 0, "max_session_clicks": 50, "carry_state": True},
}
BLENDED: Final = "GRU with the blend"


def run(progress: Progress) -> dict[str, Any]:
    """Fit with each of the `METHODS` and measure on the same end of the data."""
    clicks, methods = clicks_of(NAME), dict[str, Any]()
    split_at_ms = moment_before(clicks, 0.1)
    clicks = clicks.select(*SCHEMA)
    held = cleaned(clicks, progress, datetime.now(UTC))
    first: Release | None = None
    for method, chosen in {**{name: UNBLENDED | one for name, one in METHODS.items()}, BLENDED: {}}.items():
        settings = FitSettings.of(**ALL, **chosen, split_at=split_at_ms)
        began = time.monotonic()
        fitted = fit(clicks, settings)
        seconds = time.monotonic() - began
        release = fitted.release
        first = first or release
        aligned = align(
            first, release, held, from_ms=split_at_ms, top=TOP, exclude_recent=ALL["exclude_recent"]
        )
        found = paired(aligned.a, aligned.b, aligned.session, top=TOP)
        recall, mrr = found[f"recall_at_{TOP}"], found[f"mrr_at_{TOP}"]
        methods[method] = {
            "recall": recall.b,
            "mrr": mrr.b,
            "recall_against_gru": [recall.difference, recall.low, recall.high],
            "mrr_against_gru": [mrr.difference, mrr.low, mrr.high],
            "predictions": recall.predictions,
            "epochs": len(fitted.manifest.training["epochs"]),
            "configuration": settings.to_json(),
            "blend": fitted.manifest.training.get("blend"),
            "seconds": seconds,
        }
        progress.say(
            f"{method}: recall {recall.b:.4f} ({recall.low:+.4f} to {recall.high:+.4f} beside the GRU), "
            f"mrr {mrr.b:.4f} ({mrr.low:+.4f} to {mrr.high:+.4f}), {recall.predictions:,} predictions"
        )
    assert len({one["predictions"] for one in methods.values()}) == 1
    return {
        "metrics": {name: one["recall"] for name, one in methods.items()},
        "methods": methods,
        "seconds": sum(one["seconds"] for one in methods.values()),
    }
