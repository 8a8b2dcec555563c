"""The trainer's settings: `sections` of a training, combined in `fitting`, and all settings in `program`.

Every setting is defined once, with its type, limits, default, description and facts (metadata).
"""

from __future__ import annotations

from trainer.config.fitting import FitSettings, recorded
from trainer.config.program import (
    Archive,
    Baselines,
    Files,
    Metrics,
    Run,
    TrainerSettings,
    Watch,
)
from trainer.config.sections import (
    ACTIVE_HALF_LIFE,
    ACTIVE_ITEMS,
    MAX_TRAINED_SCALE,
    Blend,
    Dataset,
    Features,
    Loss,
    Model,
    Optimizer,
)
from trainer.config.training import POPULAR_ITEMS, Evaluation, Training

__all__ = [
    "ACTIVE_HALF_LIFE",
    "ACTIVE_ITEMS",
    "MAX_TRAINED_SCALE",
    "POPULAR_ITEMS",
    "Archive",
    "Baselines",
    "Blend",
    "Dataset",
    "Evaluation",
    "Features",
    "Files",
    "FitSettings",
    "Loss",
    "Metrics",
    "Model",
    "Optimizer",
    "Run",
    "TrainerSettings",
    "Training",
    "Watch",
    "recorded",
]
