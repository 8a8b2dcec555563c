"""Divergence: a training whose loss or gradients leave the numbers, or go far above where they began.

A network that has learned nothing gives about the first loss. An epoch whose mean is many times that is
no slow epoch: steps are too long, and more of them only lead further away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from trainer.config import FitSettings
from trainer.errors import TrainingDiverged

_FAR: Final = 10.0
"""The mean of an epoch may be this many times the first loss. Sound trainings in the tests stay below 1.1."""

_LARGEST_WEIGHT: Final = 1e6
"""Weights beyond it are those of a step that was far too long. Sound ones are below 100."""

_ABOVE: Final = 1.5
"""The best epoch may be this many times the first loss before it is said that nothing was learned."""

_USUAL_CLIP_NORM: Final = 1.0


def check_step(loss: float, norm: float, settings: FitSettings, *, first: float, position: str) -> None:
    """Raise TrainingDiverged where a step's `loss` or gradient `norm` is no finite number.

    `first` is the loss that the training began with, `position` where it is, for people.
    """
    for name, value in (("loss", loss), ("norm of the gradients", norm)):
        if not math.isfinite(value):
            raise TrainingDiverged(_words(f"the {name} is {value}", settings, first, position))


def check_epoch(loss: float, weight: float, settings: FitSettings, *, first: float, position: str) -> None:
    """Raise TrainingDiverged where an epoch ends far away.

    That is with a mean `loss` far above the `first` of the training, or a largest `weight` out of bounds.
    """
    if not weight <= _LARGEST_WEIGHT:
        raise TrainingDiverged(_words(f"weights are up to {weight:.4g}", settings, first, position))
    if loss > _FAR * abs(first):
        raise TrainingDiverged(_words(f"its loss is {loss:.4g}", settings, first, position))


def doubt(losses: Sequence[float], settings: FitSettings, *, first: float) -> str:
    """Return a warning where no epoch's loss came near the `first`; else nothing."""
    if min(losses) <= _ABOVE * abs(first):
        return ""
    return (
        f"Careful: the loss began at {first:.4g} and no epoch was below {min(losses):.4g}, so little was "
        f"learned; {_advice(settings)}"
    )


def _words(what: str, settings: FitSettings, first: float, position: str) -> str:
    return f"the training diverged in {position}: {what}, it began at {first:.4g}; {_advice(settings)}"


def _advice(settings: FitSettings) -> str:
    chosen = settings.optimizer
    advice = f"lower optimizer.learning_rate (it is {chosen.learning_rate:g})"
    if not chosen.clip_norm or chosen.clip_norm > _USUAL_CLIP_NORM:
        advice += f", or set optimizer.clip_norm to {_USUAL_CLIP_NORM:g} (it is {chosen.clip_norm:g})"
    return advice
