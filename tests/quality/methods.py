"""The textbook's methods side by side on one data set: networks, losses, optimisers."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.quality.data import clicks_of
from trainer.config import FitSettings
from trainer.events import SCHEMA
from trainer.fit import fit
from trainer.progress import Progress

NAME: Final = "ml100k"

PLAIN: Final[dict[str, Any]] = {
    "normalize": False,
    "output_table": "separate",
    "output_bias": True,
    "schedule": "constant",
}
"""The textbook's `y = Why h + b`."""

METHODS: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "without blend": {"popularity_half_lives_hours": (), "transitions": 0, "repeat_lags": 0},
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
        "loss": "squared_error",
        "optimizer": "sgd",
        "learning_rate": 0.5,
    },
    "Elman": {"cell": "elman"},
    "LSTM": {"cell": "lstm"},
    "two layers": {"layers": 2},
    "loss: sampled softmax": {"negatives": 512},
    "loss: label smoothing": {"label_smoothing": 0.1},
    "loss: bpr_max": {"loss": "bpr_max", "negatives": 512},
    "loss: top1_max": {"loss": "top1_max", "negatives": 512},
    "loss: squared_error": {**PLAIN, "loss": "squared_error"},
    "optimiser: full-batch gradient descent": {
        "optimizer": "sgd",
        "full_batch": True,
        "learning_rate": 5.0,
        "epochs": 40,
    },
    "optimiser: sgd": {"optimizer": "sgd", "learning_rate": 0.5},
    "optimiser: momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.1},
    "optimiser: rmsprop": {"optimizer": "rmsprop", "learning_rate": 1e-3},
    "optimiser: adagrad": {"optimizer": "adagrad", "learning_rate": 0.05},
    "optimiser: adamw": {"optimizer": "adamw", "weight_decay": 1e-3},
    "endless sessions": {"session_gap_seconds": 0, "max_session_clicks": 50, "carry_state": True},
}


def run(progress: Progress) -> dict[str, Any]:
    """Fit with each of the `METHODS` and measure on the same end of the data."""
    clicks, methods = clicks_of(NAME).select(*SCHEMA), dict[str, Any]()
    for method, settings in METHODS.items():
        chosen = FitSettings(**{"exclude_recent": 20, "min_item_count": 2, **settings})
        began = time.monotonic()
        manifest, _ = fit(clicks, chosen)
        methods[method] = {
            "metrics": dict(manifest.metrics),
            "epochs": len(manifest.training["epochs"]),
            "configuration": settings,
            "seconds": time.monotonic() - began,
        }
        recall, mrr = (manifest.metrics[name] for name in ("recall_at_20", "mrr_at_20"))
        progress.say(f"{method}: recall@20 {recall:.4f}, mrr@20 {mrr:.4f}")
    return {
        "metrics": {name: one["metrics"]["recall_at_20"] for name, one in methods.items()},
        "methods": methods,
        "seconds": sum(one["seconds"] for one in methods.values()),
    }
