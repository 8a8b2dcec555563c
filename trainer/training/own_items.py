"""The choice of the term for a user's own items: whether a release has it, and with which half-life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.model.blend import Blend, Lessons, Priors
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM

HALF_LIVES: Final = (4.0, 16.0, 64.0)
"""The half-lives that are tried, in clicks."""

MIN_GAIN: Final = 0.01
"""Minimum gain in cross-entropy (nats per prediction) for which a worker keeps more items of each user."""

STEPS: Final = 100
"""Number of training steps for each half-life."""

_JUDGED: Final = 10_000
"""Maximum number of predictions on which a gain is measured."""


def best_half_life(
    lessons: Lessons,
    tensors: Mapping[str, Floats],
    priors: Priors,
    settings: FitSettings,
    progress: Progress,
) -> float:
    """Return the half-life of own items that helps most; 0 if the term does not help.

    The weights of a blend without the term, and of one for each half-life, are learned on one half of the
    `lessons` and compared on the other; the lessons of a user are in one half, because lessons are in order
    of users. The term helps if it lowers the cross-entropy by `MIN_GAIN` and by two standard errors. It may
    help with a negative weight, too: where nobody clicks the same item twice.
    """
    lessons = lessons.usable()
    half = len(lessons.targets) // 2
    if not half or (lessons.own == NO_ITEM).all():
        return 0.0
    to_judge = np.unique(np.linspace(half, len(lessons.targets) - 1, _JUDGED).astype(np.int64))
    judged = lessons.only(to_judge)

    def losses(half_life: float) -> Floats:
        blend = Blend(settings, half_life)
        blend.learn(lessons.only(slice(half)), tensors, priors, steps=STEPS)
        return blend.losses(judged, tensors, priors)

    without = losses(0.0)
    gains = {half_life: without - losses(half_life) for half_life in HALF_LIVES}
    best = max(gains, key=lambda half_life: float(gains[half_life].mean()))
    gain, error = float(gains[best].mean()), float(gains[best].std() / np.sqrt(len(judged.targets)))
    helps = gain >= max(MIN_GAIN, 2 * error)
    progress.say(
        f"own items of users {'help' if helps else 'do not help: the term is left out'} (cross-entropy "
        f"{without.mean():.3f} without them, {without.mean() - gain:.3f} with a half-life of {best:g} clicks)"
    )
    return best if helps else 0.0
