"""The search space of `tune`: the settings to search, and the range of each.

The ranges include the best values of published session-based networks and of our own experiments, with a
margin on both sides. They also include the defaults. The first trial uses the defaults, so the result of a
search is never worse on the validation split.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from trainer.config import FitSettings
from worker.errors import SettingError
from worker.settings.fields import value_of

SPACE: Final[dict[str, BaseDistribution]] = {
    "optimizer.learning_rate": FloatDistribution(3e-4, 2e-2, log=True),
    "training.batch_clicks": CategoricalDistribution([128, 256, 512, 1024, 2048]),
    "model.hidden_size": CategoricalDistribution([64, 100, 128, 192]),
    "model.layers": CategoricalDistribution([1, 2]),
    "loss.function": CategoricalDistribution(["cross_entropy", "bpr_max", "top1_max"]),
    "model.dropout": FloatDistribution(0.0, 0.6),
    "model.scale": FloatDistribution(8.0, 24.0),
}


def space(given: Collection[str]) -> dict[str, BaseDistribution]:
    """Return `SPACE` without the settings that are `given`. Raises SettingError if nothing is left."""
    searched = {name: values for name, values in SPACE.items() if name not in given}
    if not searched:
        raise SettingError(f"no setting is left to search: {', '.join(SPACE)} are all given; omit some")
    return searched


def values_in(settings: FitSettings, searched: Collection[str]) -> dict[str, Any]:
    """Return the values of the `searched` settings in `settings`."""
    return {key: value_of(settings, key) for key in searched}
