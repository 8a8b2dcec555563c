"""Detection of divergence: a loss or gradient that is not finite, a huge weight, or a far too high loss.

The first loss is that of a network that has learned nothing yet; in a warm start, that of the release's
weights. If the mean loss of an epoch is many times higher, the steps are too long, and further steps only
increase the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from trainer.config import FitSettings
from trainer.errors import TrainingDiverged

_FAR: Final = 10.0
"""Maximum mean loss of an epoch, as a multiple of the first loss. Sound trainings stay below 1.1."""

_LARGEST_WEIGHT: Final = 1e6
"""Maximum absolute weight; larger weights come from steps that were far too long. Sound trainings stay below
100."""

_ABOVE: Final = 1.5
"""If the lowest loss of any epoch is above this multiple of the first loss, a warning says that little was
learned."""

_USUAL_CLIP_NORM: Final = 1.0


def check_step(loss: float, norm: float, settings: FitSettings, *, first: float, position: str) -> None:
    """Raise TrainingDiverged if the `loss` or the gradient `norm` of a step is not finite.

    `first`: the loss of the first step. `position`: the current epoch and batch, as text for display.
    """
    for name, value in (("loss", loss), ("norm of the gradients", norm)):
        if not math.isfinite(value):
            raise TrainingDiverged(_words(f"the {name} is {value}", settings, first, position))


def check_epoch(loss: float, weight: float, settings: FitSettings, *, first: float, position: str) -> None:
    """Raise TrainingDiverged if the mean `loss` of an epoch is far above `first`, or `weight` is too large.

    `weight`: the largest absolute weight after the epoch. `first` and `position`: as in `check_step`.
    """
    if not weight <= _LARGEST_WEIGHT:
        raise TrainingDiverged(_words(f"weights are up to {weight:.4g}", settings, first, position))
    if loss > _FAR * abs(first):
        raise TrainingDiverged(_words(f"its loss is {loss:.4g}", settings, first, position))


def doubt(losses: Sequence[float], settings: FitSettings, *, first: float) -> str:
    """Return a warning if the `losses` of all epochs are well above `first`; else an empty string.

    The warning makes no sense for a warm start: there, `first` is the loss of a network that has learned
    already.
    """
    if min(losses) <= _ABOVE * abs(first):
        return ""
    return (
        f"Careful: the loss began at {first:.4g} and no epoch was below {min(losses):.4g}, so little was "
        f"learned; {_advice(settings)}"
    )


def _words(what: str, settings: FitSettings, first: float, position: str) -> str:
    return (
        f"the training diverged in {position}: {what} (the first loss was {first:.4g}); {_advice(settings)}"
    )


def _advice(settings: FitSettings) -> str:
    chosen = settings.optimizer
    advice = f"lower optimizer.learning_rate (it is {chosen.learning_rate:g})"
    if not chosen.clip_norm or chosen.clip_norm > _USUAL_CLIP_NORM:
        advice += f", or set optimizer.clip_norm to {_USUAL_CLIP_NORM:g} (it is {chosen.clip_norm:g})"
    return advice
