"""Likely reasons why a release is not ahead of simple methods, as far as its figures show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from trainer.evaluation.slices import EvaluationResult
from worker.core.manifest import Manifest

FEW_SESSIONS: Final = 500
"""With fewer measured sessions the intervals are several percentage points wide."""

MANY_SHORT: Final = 0.5
"""The share of sessions of one click, or of predictions after one, that leaves a network little to learn."""

MANY_UNKNOWN: Final = 0.1
"""The share of next clicks on items outside the catalogue that no list of the release can hold."""

FEW_CLICKS_PER_ITEM: Final = 20
"""With fewer training clicks per item most item vectors are hardly trained."""


class Cause(NamedTuple):
    """A likely reason, and what to do about it."""

    text: str
    remedy: str


def causes(manifest: Manifest, result: EvaluationResult, *, certain: bool) -> list[Cause]:
    """Return what the figures show, the most likely reason first; nothing where they show none.

    `certain`: the difference is more than chance, so measuring more sessions would not help.
    """
    training = manifest.training
    found = (
        _one_click_sessions(training),
        _short_histories(result),
        _unknown_items(result),
        _few_clicks_per_item(training, manifest.items),
        _unfinished(training, result.top),
        None if certain else _few_sessions(result),
    )
    return [cause for cause in found if cause]


def _one_click_sessions(training: Mapping[str, Any]) -> Cause | None:
    for step in training.get("cleaning", []):
        if (step.get("what"), step.get("why")) == ("sessions", "of one click"):
            share = step["removed"] / max(1, step["removed"] + step["left"])
            if share >= MANY_SHORT:
                return Cause(
                    f"{share:.0%} of the training sessions have one click, so they have no next click.",
                    "Check that the user field names a person or a visit; if so, try a longer session gap.",
                )
    return None


def _short_histories(result: EvaluationResult) -> Cause | None:
    part = result.slices.get("1 click before")
    share = part.predictions / result.predictions if part else 0.0
    if share < MANY_SHORT:
        return None
    return Cause(
        f"{share:.0%} of the next clicks come after a single click: a longer history, where a network "
        "has its advantage, is rare.",
        "Train with a longer session gap, so that earlier clicks of the same user count.",
    )


def _unknown_items(result: EvaluationResult) -> Cause | None:
    part = result.slices.get("targets not in the catalogue")
    share = part.predictions / result.predictions if part else 0.0
    if share < MANY_UNKNOWN:
        return None
    return Cause(
        f"{share:.0%} of the next clicks are on items that the release does not know.",
        "Train more often, or lower the number of clicks that an item needs to be known.",
    )


def _few_clicks_per_item(training: Mapping[str, Any], items: int) -> Cause | None:
    clicks = training.get("clicks")
    if not clicks or clicks / items >= FEW_CLICKS_PER_ITEM:
        return None
    return Cause(
        f"An item has only {clicks / items:.0f} training clicks on average: too few to learn much about it.",
        "Train on a longer period, or give item features to the training.",
    )


def _unfinished(training: Mapping[str, Any], top: int) -> Cause | None:
    found = [epoch.get(f"recall_at_{top}") for epoch in training.get("epochs", [])]
    values = [value for value in found if value is not None]
    if len(values) < 2 or values[-1] < max(values) or online(training) is not None:
        return None
    return Cause(
        f"The last of {len(values)} training epochs was the best one: the training ended too early.",
        "Train for more epochs.",
    )


def online(training: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a manifest says of an online training; None for any other.

    Earlier trainers wrote it under other names.
    """
    old = training.get("stream")
    if old is None:
        return training.get("online")
    return {"windows": old["windows"], "active_items": old["page"]}


def _few_sessions(result: EvaluationResult) -> Cause | None:
    if result.sessions >= FEW_SESSIONS:
        return None
    return Cause(
        f"Only {result.sessions:,} sessions were measured, so chance plays a large part.",
        "Measure on more sessions: move --split-at back and train again on the clicks before it.",
    )
