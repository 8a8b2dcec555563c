"""The terms of the blend: counts as logarithms, and what a release adds to the network's scores.

`trainer.model.blend` has the formula and learns the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from trainer.config import FitSettings
from trainer.dataset.co_occurrences import co_occurrences
from trainer.dataset.decayed_counts import Past, popularity, transitions
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes, OwnItems, own_gains

_FLOOR: Final = 0.1
"""Added to all popularity counts, so that items without clicks have a finite logarithm."""

UNPOPULAR: Final = math.log(_FLOOR)
"""The log popularity of an item without clicks."""

_UNIT: Final = 0.3
"""Unit of transition counts; counts far below it add almost nothing."""

_NEAR_UNIT: Final = 0.03
"""Unit of co-occurrence counts. A single pair at the largest distance counts 0.1, and should show."""

CO_OCCURRENCE_DECAY: Final = (1.0, 1 / 2, 1 / 3)
"""Factors of the co-occurrences of a session's last clicks, latest first."""

RECENT: Final = len(CO_OCCURRENCE_DECAY)
"""The number of last clicks that co-occurrences need."""

OWN_HALF_LIFE: Final = 64.0
"""Half-life of a user's own items, in clicks. From 32 to 128 the result hardly differs."""


class Priors(NamedTuple):
    """Logarithms of counts at a given time.

    `popularity` `[N, K]`: per item and half-life. `following` `[N, E]`: the successors of each item, padded
    with `NO_ITEM`. `transitions` `[N, E, K]`: per item, successor and half-life. `near` `[N, E]`: the items
    clicked near each item, padded with `NO_ITEM`. `co_occurrences` `[N, E]`: per item and near item.
    """

    popularity: Floats
    following: Indexes
    transitions: Floats
    near: Indexes
    co_occurrences: Floats


class Terms(NamedTuple):
    """The terms that a release adds to its scores; `network` is the factor of the network's scores.

    A term of zeros is not in the release.
    """

    network: float
    output_bias: Floats
    transition_items: Indexes
    transition_scores: Floats
    co_occurrence_items: Indexes
    co_occurrence_scores: Floats
    repeat_bias: Floats
    own_items: OwnItems = OwnItems()

    def added_to(self, tensors: Mapping[str, Floats]) -> dict[str, Any]:
        """Return the `tensors` of a release with the bias and the item rows of the blend added.

        The other terms are in `manifest`.
        """
        added: dict[str, Any] = dict(tensors)
        if self.output_bias.any() or "output_bias" in tensors:
            own = tensors.get("output_bias", np.zeros_like(self.output_bias))
            added["output_bias"] = own * np.float32(self.network) + self.output_bias
        if self.transition_scores.any():
            added["transition_items"] = self.transition_items
            added["transition_scores"] = self.transition_scores
        if self.co_occurrence_scores.any():
            added["co_occurrence_items"] = self.co_occurrence_items
            added["co_occurrence_scores"] = self.co_occurrence_scores
        return added

    @property
    def manifest(self) -> dict[str, Any]:
        """The arguments of `pack` that belong to the terms, except for the scale."""
        return {
            "co_occurrence_decay": [*CO_OCCURRENCE_DECAY] if self.co_occurrence_scores.any() else [],
            "repeat_bias": self.repeat_bias.tolist() if self.repeat_bias.any() else [],
            "own_items": self.own_items,
        }

    def added_to_scores(self, network: Floats, clicked: Indexes) -> Floats:
        """Return the blended scores `[N]` after the session `clicked`, given the `network` scores `[N]`.

        The user has no earlier clicks.
        """
        scores = network * np.float32(self.network) + self.output_bias
        if not len(clicked):
            return scores
        _add(scores, self.transition_items[clicked[-1]], self.transition_scores[clicked[-1]])
        for item, factor in zip(clicked[::-1].tolist(), CO_OCCURRENCE_DECAY, strict=False):
            gains = self.co_occurrence_scores[item] * np.float32(factor)
            _add(scores, self.co_occurrence_items[item], gains)
        recent = clicked[::-1][: len(self.repeat_bias)]
        _add(scores, recent, self.repeat_bias[: len(recent)])
        _, items, gains = own_gains(clicked[None, ::-1][:, : self.own_items.clicks], self.own_items)
        scores[items] += gains
        return scores


def _add(scores: Floats, items: Indexes, gains: Floats) -> None:
    used = items != NO_ITEM
    np.add.at(scores, items[used], gains[used])


def priors_at(past: Past, now_ms: int, settings: FitSettings, *, items: int) -> Priors:
    """Return the log counts of `past` at `now_ms`, for the counts that the blend in `settings` uses."""
    counts = popularity(past, now_ms, _hours(settings.blend.popularity_half_lives), items=items)
    following = transitions(
        past,
        now_ms,
        _hours(settings.blend.transition_half_lives),
        items=items,
        entries=settings.blend.transitions if settings.blend.transition_half_lives else 0,
    )
    near = co_occurrences(past, now_ms, items=items, entries=settings.blend.co_occurrences)
    return Priors(
        np.log(counts + np.float32(_FLOOR)),
        following.items,
        np.log1p(following.counts / _UNIT),
        near.items,
        np.log1p(near.counts[..., 0] / _NEAR_UNIT),
    )


def _hours(durations: Iterable[float]) -> list[float]:
    return [seconds / 3_600 for seconds in durations]
